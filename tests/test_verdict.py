"""The ladder and the verdict, by the rules of the design."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kit.analyze.findings import Finding, Layer, NotExamined, Result, Subject
from kit.analyze.symptom import parse_symptom
from kit.analyze.verdict import ladder, verdict

SYMPTOM = parse_symptom('relation "orders" does not exist')


def _result(layer: Layer, severity: str | None = None, **more) -> Result:
    found = Finding(severity or "info", Subject("table", "orders", "shop"), "it is broken", "mend it", ("relations", (0,)))
    findings = (replace(found, layer=layer),) if severity else ()
    base = Result("a_check", "triage", layer, "database", "findings" if findings else "clean", findings=findings)
    return replace(base, can_be_critical=True, explains=frozenset({"42P01"}), **more)


def _judged(*results: Result, symptom=None, out=()):
    layers = ladder(results, symptom, out)
    return {entry.layer: entry.status for entry in layers}, verdict(layers, results, symptom)


def test_the_verdict_is_the_lowest_broken_layer():
    _, found = _judged(_result("change", "critical"), _result("privileges", "critical"))

    assert (found.status, found.layer) == ("broken", "privileges")


def test_a_warning_never_breaks_a_layer():
    statuses, found = _judged(_result("privileges", "warning"))

    assert statuses["privileges"] == "cleared"
    assert found.status == "healthy"


@pytest.mark.parametrize("status", ["skipped", "failed"])
def test_a_layer_whose_critical_check_did_not_run_is_not_examined(status: str):
    statuses, found = _judged(_result("privileges", status=status, reason="not permitted"))

    assert statuses["privileges"] == "not examined"
    assert (found.status, found.layer) == ("open", "privileges")


def test_an_unseen_subject_keeps_a_layer_from_being_cleared():
    unseen = (NotExamined("shop.orders", "locked"),)

    assert _judged(_result("privileges", not_examined=unseen))[0]["privileges"] == "not examined"


def test_a_check_that_cannot_be_critical_does_not_hold_a_layer_back():
    result = replace(_result("privileges", status="skipped"), can_be_critical=False)

    assert _judged(result, _result("privileges"))[0]["privileges"] == "cleared"


def test_a_layer_of_which_no_check_ran_is_not_cleared():
    result = replace(_result("configuration", status="skipped", reason="not reached"), can_be_critical=False)

    statuses, found = _judged(result)

    assert statuses["configuration"] == "not examined"
    assert found.status == "open"


def test_what_no_check_looks_for_stays_open():
    result = replace(_result("privileges"), explains=frozenset({"42501"}))

    assert _judged(result, symptom=parse_symptom("No space left on device"))[1].status == "open"


def test_that_the_kit_could_not_connect_breaks_its_layer_whatever_the_symptom():
    result = replace(_result("reachability", "critical"), explains=frozenset({"08006"}))
    attempt = replace(result, findings=(replace(result.findings[0], evidence=("connection", (0,))),))

    assert _judged(attempt, symptom=SYMPTOM)[1].layer == "reachability"


def test_a_layer_without_any_source_is_out_of_scope_and_does_not_open_the_case():
    result = replace(_result("service", status="skipped"), in_scope=False)

    statuses, found = _judged(result)

    assert set(statuses.values()) == {"out of scope"}
    assert found.status == "healthy"


def test_what_the_target_puts_out_of_scope_stays_out():
    assert _judged(_result("privileges", "critical"), out=("privileges",))[0]["privileges"] == "out of scope"


def test_with_a_symptom_only_what_could_explain_it_breaks_a_layer():
    other = replace(_result("configuration", "critical"), explains=frozenset({"57014"}))

    statuses, found = _judged(other, _result("privileges", "critical"), symptom=SYMPTOM)

    assert statuses["configuration"] == "cleared"
    assert found.layer == "privileges"


def test_a_finding_about_other_relations_does_not_explain_the_symptom():
    result = _result("privileges", "critical")
    elsewhere = replace(result, findings=(replace(result.findings[0], relations=frozenset({"carts"})),))

    assert _judged(elsewhere, symptom=SYMPTOM)[1].status == "healthy"


def test_absence_explains_nothing_where_the_relation_exists():
    result = replace(_result("change", "critical"), explains_absence=True)

    assert _judged(result, symptom=replace(SYMPTOM, relation_exists=True))[1].status == "open"
    assert _judged(result, symptom=replace(SYMPTOM, relation_exists=False))[1].layer == "change"
    missing_column = replace(SYMPTOM, relation_exists=True, sqlstates=frozenset({"42703"}))
    assert _judged(replace(result, explains=frozenset({"42703"})), symptom=missing_column)[1].layer == "change"


def test_healthy_with_a_symptom_says_that_it_is_not_the_database():
    assert "Not the database" in _judged(_result("privileges"), symptom=SYMPTOM)[1].summary


@pytest.mark.parametrize(
    ("text", "sqlstates", "relation"),
    [
        ('ERROR:  relation "app.Siwe" does not exist', {"42P01"}, "Siwe"),
        ("permission denied for table orders", {"42501"}, "orders"),
        ('column "platform_id" of relation "sessions" does not exist', {"42703"}, "sessions"),
        ("SQLSTATE 42P01", {"42P01"}, None),
        ("the table does not exist", {"42P01"}, None),
        ("password authentication failed for user", {"28P01", "28000"}, None),
        ("The table `main.users` does not exist in the current database.", {"42P01"}, "users"),
        ("everything is on fire", set(), None),
        ("users get 500 errors on /login since deploy 00042", set(), None),
        ("connection to 10.0.0.1 port 54321 refused", {"08006", "08001"}, None),
        ("The table `auth.siwe_nonces` does not exist. code: P2021", {"42P01"}, "siwe_nonces"),
        ("SQLSTATE[22P02]: invalid text", {"22P02"}, None),
        ("database timeout", {"57014", "08006"}, None),
    ],
)
def test_a_symptom_is_read_for_its_sqlstate_and_relation(text: str, sqlstates: set[str], relation: str | None):
    symptom = parse_symptom(text)

    assert (symptom.sqlstates, symptom.relation) == (sqlstates, relation)
