"""The one tree of errors that a user may meet; each says what is wrong and what to do next.

KitError
├── UsageError            the command line, a parameter or a configuration file is wrong
│   ├── ParameterError    a notebook parameter, threshold or window
│   ├── UnknownRole       a role that the server does not have
│   └── TargetError       a target cannot be understood or found
├── MissingTier           a part of the kit that needs an extra is not installed
├── BundleError           a bundle is altered, truncated or of a later format
├── EvidenceMismatch      a query or file returned other columns than it declares
├── CaptureError          the sources could not be read at all
├── SandboxError          a PostgreSQL server of the kit's own could not be started
├── RunError              the report could not be made or put in place
└── SecretFound           a known secret stands in a file about to be published
"""


class KitError(Exception):
    """Base of every error the kit raises on purpose: `message`, `hint` (the next step) and `slug`."""

    slug = "kit"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(KitError):
    """The command line, a parameter or a configuration file is wrong."""

    slug = "usage"


class ParameterError(UsageError):
    """A notebook parameter, a threshold or the window cannot be used."""

    slug = "parameter"


class UnknownRole(UsageError):
    """A role is named that the server does not have."""

    slug = "unknown-role"


class TargetError(UsageError):
    """A target cannot be understood or found."""

    slug = "target"


class MissingTier(KitError):
    """A part of the kit that needs an extra is not installed."""

    slug = "missing-tier"


class BundleError(KitError):
    """A bundle is altered, truncated, or of a later format than this kit reads."""

    slug = "bundle"


class EvidenceMismatch(KitError):
    """A query or file returned other columns than it declares."""

    slug = "evidence-mismatch"


class CaptureError(KitError):
    """The sources could not be read at all."""

    slug = "capture"


class SandboxError(KitError):
    """A PostgreSQL server of the kit's own could not be started."""

    slug = "sandbox"


class RunError(KitError):
    """The report could not be made or put in place."""

    slug = "run"


class SecretFound(KitError):
    """A known secret stands in a file that was about to be published."""

    slug = "secret-found"
