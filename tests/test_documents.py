"""What is published about the kit itself: the schema, the README's table, the registry's explanations."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kit.case.listing import markdown_table
from kit.checks import AREAS, SECTIONS, registry
from kit.cli import app
from tests.record import README, SCHEMA, TABLE_BEGIN, TABLE_END, schema_text

ROOT = Path(__file__).parent.parent


def test_the_published_schema_is_that_of_the_model():
    assert SCHEMA.read_text() == schema_text(), "Run `make record`."


def test_the_readme_lists_every_check():
    table = README.read_text().partition(TABLE_BEGIN)[2].partition(TABLE_END)[0]

    assert table.strip() == markdown_table(), "Run `make record`."


def test_the_readme_names_every_command():
    commands = [command.name or command.callback.__name__ for command in app.registered_commands]

    assert [name for name in commands if f"kit {name}" not in README.read_text()] == []


@pytest.mark.parametrize("area", AREAS)
def test_every_area_has_at_least_three_checks(area: str):
    assert sum(check.area == area for check in registry().values()) >= 3


@pytest.mark.parametrize("check", registry().values(), ids=lambda check: check.id)
def test_a_check_explains_itself_and_its_numbers(check):
    assert all(len(check.sections[section]) > 10 for section in SECTIONS)
    assert all(threshold.reason and threshold.source and threshold.unit for threshold in check.thresholds)
    assert set(check.severities) <= {"critical", "warning", "info"}
    assert check.severities


def test_the_constraints_name_no_index_and_hash_everything():
    text = (ROOT / "constraints.txt").read_text()
    pins = re.findall(r"^[a-z0-9].*==.*$", text, re.MULTILINE | re.IGNORECASE)

    assert "://" not in text
    assert "--index-url" not in text
    assert len(pins) > 100
    assert all(pin.rstrip().endswith("\\") for pin in pins)
