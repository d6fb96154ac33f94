"""Named targets: what `--target` may say, and `kit.toml`; never a stored password."""

from kit.target.configuration import config_path
from kit.target.targets import DatabaseSource, Described, Target, described, libpq_form, resolve

__all__ = ["DatabaseSource", "Described", "Target", "config_path", "described", "libpq_form", "resolve"]
