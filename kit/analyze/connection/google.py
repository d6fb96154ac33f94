"""The causes of a connection that failed on its way through Google's connector, by the words of `kit.collect.connector_faults`.

The patterns are anchored: nothing that a server says can begin a message.
"""

from __future__ import annotations

from kit.analyze.connection.causes import Cause, Kind, cause

_WHOSE = "It is the account that the kit runs as that was refused; the service has an account of its own."


def _cause(kind: Kind, name: str, words: str, meaning: str, remedy: str, untold: str = "") -> Cause:
    return cause(kind, name, "", rf"^Cloud SQL connector: {words}", meaning, remedy, untold)


THROUGH_GOOGLE: tuple[Cause, ...] = (
    cause(
        "unreachable",
        "closed by the instance",
        "",
        r"^(connection failed: )?connection to server through Google's connector failed: (server closed|SSL|could not)",
        "The instance took the encrypted connection, and closed it before a session began.",
        "See whether the instance is restarting or out of memory (its log at that minute); for an IAM user also the flag "
        "cloudsql.iam_authentication and roles/cloudsql.instanceUser.",
        "An instance that ends each session at once and a login that its front refuses look alike.",
    ),
    _cause(
        "login",
        "Cloud SQL Admin API disabled",
        "the API is disabled",
        "The Cloud SQL Admin API is not enabled in the project that is asked (or that the quota is counted for), so nobody can "
        "connect through a connector.",
        "Run `gcloud services enable sqladmin.googleapis.com --project PROJECT`, and try again after a minute.",
    ),
    _cause(
        "login",
        "no quota project",
        "the login has no quota project",
        "The application default credentials of a person name no project for the quota of Google's API.",
        "Run `gcloud auth application-default set-quota-project PROJECT`, and try again.",
    ),
    _cause(
        "login",
        "not allowed to connect to the instance",
        "the API refused the account",
        "Google's API lets this account not connect to the instance: it lacks roles/cloudsql.client (cloudsql.instances.connect "
        "and cloudsql.instances.get).",
        "Let an administrator of the instance's project grant that account roles/cloudsql.client; check project and instance "
        "letter by letter.",
        f"{_WHOSE} A missing role and a project or instance that does not exist can get the same answer.",
    ),
    _cause(
        "unreachable",
        "no such instance",
        "there is no such instance",
        "The project has no Cloud SQL instance of this name.",
        "Compare cloudsql in kit.toml with `gcloud sql instances list --project PROJECT --format='value(connectionName)'`.",
    ),
    _cause(
        "unreachable",
        "instance of another region",
        "the instance is in another region",
        "The instance exists, in another region than the connection name says.",
        "Write the region that the message names into cloudsql of kit.toml, and look for the same slip in the service's own "
        "string and annotation.",
    ),
    _cause(
        "unreachable",
        "instance without address",
        "the instance has no address",
        "The instance has no public, private or PSC address to connect to.",
        "See `gcloud sql instances describe INSTANCE --format='value(state,settings.activationPolicy,ipAddresses)'`: it may be "
        "stopped or in the making.",
    ),
    _cause(
        "unreachable",
        "private address not reached",
        "(no connection to|no encrypted connection to) the instance's (private|PSC) address",
        "The instance has no public address, and its private one did not answer on port 3307.",
        "Ask from where it can be reached: inside the VPC, over the VPN, or through a tunnel to a bastion (tunnel in kit.toml); "
        "else see whether the instance runs.",
        "A private address has no route from outside its network, so a stopped instance and the wrong place to ask look alike.",
    ),
    _cause(
        "unreachable",
        "port 3307 not reached",
        "no connection to the instance's public address",
        "Google's API knows the instance, and its address did not take a connection on port 3307.",
        "Let this network out to TCP port 3307 (the connector does not use 5432); see whether the instance runs: `gcloud sql "
        "instances describe INSTANCE --format='value(state,settings.activationPolicy)'`.",
        "A firewall on the way and an instance that is stopped look alike.",
    ),
    _cause(
        "unreachable",
        "instance not proven",
        "the server is not the instance",
        "What answers at the instance's address has no certificate of the instance, so nothing was sent to it.",
        "Look for a proxy that opens TLS on the way (security software, a company's gateway), and let port 3307 pass it; if the "
        "instance's CA was just rotated, try again.",
        "A proxy in between and a rotated CA look alike.",
    ),
    _cause(
        "unreachable",
        "no agreement on TLS with the instance",
        "no encrypted connection to",
        "The instance's address took the connection, and no encrypted session came of it.",
        "See whether the instance is overloaded or restarting, and whether something on the way opens TLS.",
    ),
    _cause(
        "unreachable",
        "not PostgreSQL: another engine of Cloud SQL",
        "the instance's engine is",
        "The Cloud SQL instance of this name is not PostgreSQL.",
        "Compare cloudsql in kit.toml with `gcloud sql instances list --format='table(connectionName,databaseVersion)'`.",
    ),
    _cause(
        "unreachable",
        "Google's API refused",
        "the API answered",
        "Google's API gave neither address nor certificate for the instance.",
        "Read the message; see `gcloud sql instances describe INSTANCE` (it may be stopped, suspended or in maintenance) and "
        "https://status.cloud.google.com.",
    ),
    _cause(
        "unreachable",
        "connector without answer",
        "no answer",
        "Neither Google's API nor the instance gave an answer in time.",
        "Try `gcloud sql instances describe INSTANCE` from the same place; check that HTTPS to sqladmin.googleapis.com and TCP "
        "port 3307 pass.",
        "A network that drops packets and an API that hangs look alike.",
    ),
    _cause(
        "unreachable",
        "connector failed",
        "",
        "Google's connector failed in a way that is not known here.",
        "Read the message; try the Cloud SQL Auth Proxy from the same place.",
    ),
)
