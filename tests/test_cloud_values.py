"""What is told of an environment variable's value: never the secret, always what cannot be seen."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.analyze.cloud.connections import is_private, read
from kit.analyze.cloud.names import name_fault
from kit.collect.cloud.masking import masked_export
from kit.collect.cloud.values import value_facts, value_flags

NAME = "shop-prod:us-central1:shop-db"


@pytest.mark.parametrize(
    ("value", "flags"),
    [
        ("plain", []),
        ("a b", []),
        ("a\r", ["carriage return at the end"]),
        ("a\r\n", ["carriage return at the end", "line feed at the end"]),
        ("a\rb", ["carriage return inside"]),
        (" a\u00a0", ["space at the start", "no-break space at the end"]),
        ("\ufeffa", ["byte order mark at the start"]),
        ("a\u200bb", ["zero-width character inside"]),
        ("'a'", ["quotes around it"]),
        ("\x07a", ["character U+0007 inside"]),
        ("-----BEGIN\nx\n", []),
        ("\r", ["carriage return at the end"]),
        ("", []),
    ],
)
def test_what_cannot_be_seen_is_told_with_its_place(value: str, flags: list[str]) -> None:
    assert sorted(value_flags(value)) == sorted(flags)


@pytest.mark.parametrize(
    ("value", "shape", "shown"),
    [
        (
            f"postgresql+asyncpg://app:s3cr3t@/shop?host=/cloudsql/{NAME}\r",
            "connection string",
            f"postgresql+asyncpg://app:***@/shop?host=/cloudsql/{NAME}\r",
        ),
        ("postgres://app:s3cr3t@10.0.0.3:5432/shop", "connection string", "postgres://app:***@10.0.0.3:5432/shop"),
        ("postgres://app:s3@cr3t/s3cr3t?s3cr3t@h/d", "connection string", "postgres://app:***@h/d"),
        (
            "jdbc:postgresql://h/d?user=app&password=s3cr3t&sslmode=require",
            "connection string",
            "jdbc:postgresql://h/d?user=app&password=***&sslmode=require",
        ),
        ("postgres://app:s3cr3t", "connection string", None),
        ("host=/cloudsql/x password='s3c r3t' dbname=d", "connection string", "host=/cloudsql/x password=*** dbname=d"),
        ("redis://:s3cr3t@10.0.0.4:6379/0", "url", "redis://10.0.0.4:6379"),
        ("https://hooks.example.com/services/s3cr3t", "url", "https://hooks.example.com"),
        ("https://s3cr3t@example.com/x", "url", "https://example.com"),
        (NAME, "instance name", NAME),
        (f"{NAME}\r", "instance name", f"{NAME}\r"),
        (f"/cloudsql/{NAME}", "socket path", f"/cloudsql/{NAME}"),
        ("/cloudsql/x password=s3cr3t", None, None),
        ("app@shop-prod.iam", "IAM user", "app@shop-prod.iam"),
        ("10.1.2.3", "address", "10.1.2.3"),
        ("s3cr3t", None, None),
        ("a:b:s3cr3t", None, None),
    ],
)
def test_only_a_known_shape_is_shown(value: str, shape: str | None, shown: str | None) -> None:
    facts = value_facts("SETTING", value)
    assert (facts.shape, facts.shown) == (shape, shown)
    assert "s3cr3t" not in repr(facts)


def test_a_fingerprint_leaves_the_password_out_and_secrets_have_none() -> None:
    one, other = (value_facts("DATABASE_URL", f"postgres://app:{word}@h/d").fingerprint for word in ("first", "second"))
    assert one == other
    assert one != value_facts("DATABASE_URL", "postgres://app:first@h/e").fingerprint
    assert [value_facts(name, "hunter2").fingerprint for name in ("PGPASSWORD", "API_KEY", "AUTH_TOKEN")] == [None] * 3
    assert value_facts("MODE", "production").fingerprint != value_facts("MODE", "staging").fingerprint


_AROUND = st.text(st.characters(blacklist_categories=("Cs",)), max_size=12)
_FORMS = (
    "postgresql://app:{}@db.example.com/shop",
    "postgresql+asyncpg://app:{}@/shop?host=/cloudsql/a:us-east1:b",
    "jdbc:postgresql://db/shop?user=app&password={}",
    "redis://:{}@10.0.0.1:6379/0",
    "https://user:{}@example.com/path",
    "mysql://app:{}@h/d",
)


@given(form=st.sampled_from(_FORMS), before=_AROUND, after=_AROUND)
def test_no_password_is_ever_shown_whatever_signs_it_holds(form: str, before: str, after: str) -> None:
    # Between two known words stand any signs; a password in a query cannot hold & unescaped.
    password = f"Qx7{before}{after}zW9" if "password=" not in form else f"Qx7{before}{after}zW9".replace("&", "")
    facts = value_facts("DATABASE_URL", form.format(password))
    assert "Qx7" not in repr(facts)
    assert "zW9" not in repr(facts)


@given(st.text(max_size=80))
def test_no_text_is_an_exception(text: str) -> None:
    facts = value_facts("DATABASE_URL", text)
    row = {"variable_name": "DATABASE_URL", "value_shape": facts.shape}
    read(row, 0, facts.shown or text)
    name_fault(text, list(facts.flags), [NAME])
    is_private(text)


def test_an_export_is_masked_wherever_the_value_stands() -> None:
    variable = {"name": "DATABASE_URL", "value": "postgresql://app:s3cr3t@/shop?host=/cloudsql/a:us-east1:b\r"}
    container = {
        "env": [variable, {"name": "TOKEN", "value": "s3cr3t"}, {"name": "E", "value": ""}],
        "args": ["--password", "s3cr3t"],
    }
    entry = {"protoPayload": {"request": {"service": {"spec": {"containers": [container]}}, "rootPassword": "s3cr3t"}}}
    masked: Any = masked_export([entry, {"textPayload": "login with password=s3cr3t at postgres://a:s3cr3t@h/d"}])
    assert "s3cr3t" not in json.dumps(masked)
    [first, second, empty] = masked[0]["protoPayload"]["request"]["service"]["spec"]["containers"][0]["env"]
    assert first["value"] == "<masked>"
    assert first["incidentKit"]["flags"] == ["carriage return at the end"]
    assert first["incidentKit"]["shown"] == "postgresql://app:***@/shop?host=/cloudsql/a:us-east1:b\r"
    assert second["incidentKit"] == {"fingerprint": None, "flags": [], "shape": None, "shown": None}
    assert empty == {"name": "E", "value": ""}


KNOWN = [NAME]
FAULTS = [
    (NAME, None, None),
    (f"{NAME}\r", "holds what cannot be seen (carriage return at the end)", NAME),
    ("shop-prod:us-central1-a:shop-db", "names the zone us-central1-a where the region us-central1 belongs", NAME),
    ("shop-db", "is not PROJECT:REGION:INSTANCE", NAME),
    ("shop-prod:europe-west1:shop-db", f"differs from the instance's own name {NAME!r}", NAME),
    ("other-project:us-central1:shop-db", None, None),
    ("shop-prod:us-central1:" + "x" * 80, "makes a socket path of 126 bytes, and 107 is the limit", None),
    ("shop-prod::shop-db", "is not PROJECT:REGION:INSTANCE", NAME),
]


@pytest.mark.parametrize(("name", "words", "correct"), FAULTS)
def test_names_of_instances_are_compared_byte_by_byte(name: str, words: str | None, correct: str | None) -> None:
    fault = name_fault(name, value_flags(name), KNOWN)
    assert (fault and fault.words, fault and fault.correct) == (words, correct)
