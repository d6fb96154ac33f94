"""What gives a service account the right to connect to Cloud SQL, and what cannot be told from a file."""

from __future__ import annotations

import re

# The predefined and basic roles that hold cloudsql.instances.connect. Not .viewer; not .instanceUser, which is
# for logging in and not for connecting.
CONNECTING_ROLES = frozenset(
    {"roles/cloudsql.client", "roles/cloudsql.editor", "roles/cloudsql.admin", "roles/editor", "roles/owner"}
)
EVERYBODY = frozenset({"allUsers", "allAuthenticatedUsers"})


def member_of(service_account: str) -> str:
    """Return the service account as an IAM policy names it."""
    return f"serviceAccount:{service_account}"


def project_of(instance: str) -> str | None:
    """Return the project in a connection name `project:region:instance`; the project may hold a colon itself.

    >>> project_of("shop:europe-west1:main"), project_of("example.com:shop:europe-west1:main")
    ('shop', 'example.com:shop')
    >>> project_of("main")
    """
    parts = instance.rsplit(":", 2)
    return parts[0] if len(parts) == 3 else None


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
