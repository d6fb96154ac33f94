"""What the name of a service account tells of its project."""

from __future__ import annotations

import re


def home_of(service_account: str) -> str | None:
    """Return the project that owns a service account; None where its name does not say so.

    >>> home_of("web@shop.iam.gserviceaccount.com"), home_of("web@shop.example.com.iam.gserviceaccount.com")
    ('shop', 'example.com:shop')
    >>> home_of("123-compute@developer.gserviceaccount.com")
    """
    found = re.fullmatch(r"[^@]+@([^@.]+)(?:\.([^@]+))?\.iam\.gserviceaccount\.com", service_account)
    if found is None:
        return None
    return found[1] if found[2] is None else f"{found[2]}:{found[1]}"
