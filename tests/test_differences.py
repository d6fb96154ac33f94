"""Comparing is pure: nothing is forgotten, nothing differs from itself, and two sides mirror each other."""

from __future__ import annotations

import copy
import dataclasses
import random
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kit.sandbox
from kit.analyze.cloud.comparison import Deployed
from kit.analyze.differences.books import Book, relation_of
from kit.analyze.differences.catalog import TOPICS
from kit.analyze.differences.comparing import compare_roles, compare_services, compare_sources
from kit.analyze.differences.judgements import finding_changes
from kit.analyze.differences.left_out import BY_OTHER_MEANS, LEFT_OUT_COLUMNS, LEFT_OUT_FRAMES
from kit.analyze.differences.model import Difference, Differences
from kit.analyze.differences.rows import value_words
from kit.analyze.dsn.evidence import STRING_COLUMNS
from kit.analyze.symptom import parse_symptom
from kit.case.judging import Question, judged
from kit.collect.attempt.records import COLUMNS as STEP_COLUMNS
from kit.collect.cloud.exports import collect_cloud
from kit.collect.cloud.frames import FRAMES
from kit.collect.elsewhere import COLUMNS as ELSEWHERE
from kit.collect.forms.seen import SEEN
from kit.collect.pooler_frames import FRAMES as POOLER_FRAMES
from kit.collect.queries import fact_queries
from kit.collect.services.frame import COLUMNS as PROBE_COLUMNS
from kit.evidence import bundle
from kit.evidence.columns import build_frame
from kit.evidence.model import Capture, Evidence, Frames, Gap, Source
from kit.present.differences import told
from tests.run_support import BUNDLE

STAGED = Path(kit.sandbox.__file__).parent / "staged"
AT = datetime(2025, 9, 1, tzinfo=UTC)
VARIANTS = sorted(path for path in STAGED.glob("incident_*/exports/*"))


@pytest.fixture(scope="module")
def recorded() -> Capture:
    return bundle.load(BUNDLE)


@pytest.fixture(scope="module")
def database(recorded: Capture) -> Source:
    return recorded.source("database")


def with_frame(source: Source, name: str, change: Callable[[pd.DataFrame], pd.DataFrame], **about: Any) -> Source:
    evidence = source.evidence[name]
    frame = change(copy.deepcopy(evidence.frame)).reset_index(drop=True)
    provenance = evidence.provenance.model_copy(update=about)
    changed = Evidence(frame.astype(evidence.frame.dtypes.to_dict()), evidence.columns, provenance)
    return dataclasses.replace(source, evidence={**source.evidence, name: changed})


def without(source: Source, name: str, reason: str = "permission denied") -> Source:
    kept = {key: value for key, value in source.evidence.items() if key != name}
    return dataclasses.replace(source, evidence=kept, gaps={**source.gaps, name: Gap(kind="not permitted", reason=reason)})


def between(a: Source, b: Source, symptom: str | None = None) -> Differences:
    return compare_sources([(a, b)], parse_symptom(symptom), same_target=True)


def mirrored(found: Differences) -> list[Difference]:
    return [dataclasses.replace(difference, a=difference.b, b=difference.a) for difference in found.all]


def declared() -> Iterator[tuple[str, list[str]]]:
    yield from ((name, [column.name for column in queries[0].columns]) for name, queries in fact_queries().items())
    yield from ((spec.name, [column.name for column in spec.columns]) for spec in FRAMES)
    yield from ((name, [column.name for column in columns]) for name, columns in ELSEWHERE.items())
    yield from ((frame.name, [column.name for column in frame.columns]) for frame in POOLER_FRAMES)
    yield from ((name, [column.name for column in seen[2]]) for name, seen in SEEN.items())
    yield "connection_strings", [column.name for column in STRING_COLUMNS]
    yield "service_probes", [column.name for column in PROBE_COLUMNS]
    yield "connection_steps", [column.name for column in STEP_COLUMNS]


def test_every_column_of_every_frame_is_compared_or_left_out_with_a_reason() -> None:
    forgotten = []
    for frame, columns in declared():
        if frame in LEFT_OUT_FRAMES or frame in BY_OTHER_MEANS:
            continue
        topics = [topic for topic in TOPICS if topic.frame == frame]
        used = {column for topic in topics for column in (*topic.key, *(aspect.column for aspect in topic.aspects))}
        forgotten += [f"{frame}.{column}" for column in columns if column not in used and column not in LEFT_OUT_COLUMNS]
        assert topics, frame
    assert forgotten == []


def test_every_recorded_frame_is_known(recorded: Capture) -> None:
    known = {*LEFT_OUT_FRAMES, *BY_OTHER_MEANS, *(topic.frame for topic in TOPICS)}
    assert {name for source in recorded.sources for name in source.evidence} - known == set()


def test_a_topic_reads_only_columns_that_there_are(recorded: Capture) -> None:
    for source in recorded.sources:
        book = Book(Frames(source))
        for topic in TOPICS:
            for row in list(book.rows(topic).values())[:3] if topic.frame in source.evidence else ():
                assert {*topic.key, *(a.column for a in topic.aspects), *topic.alike} <= row.keys(), topic.kind
                assert relation_of(topic, row) is None or len(relation_of(topic, row) or ()) == 2


def test_no_kind_is_told_under_two_names() -> None:
    assert Counter(topic.kind for topic in TOPICS).most_common(1)[0][1] == 1
    assert Counter(topic.plural for topic in TOPICS).most_common(1)[0][1] == 1


def test_a_recorded_capture_does_not_differ_from_itself(recorded: Capture) -> None:
    found = compare_sources([(source, source) for source in recorded.sources], same_target=True)
    assert (found.all, dict(found.left_out)) == ([], {})
    assert sum(count for layer in found.layers for _, count in layer.equal) > 500


@pytest.mark.parametrize("folder", VARIANTS, ids=lambda path: f"{path.parts[-3]}-{path.parts[-1]}")
def test_exports_do_not_differ_from_themselves(folder: Path) -> None:
    source = collect_cloud(folder, AT)
    assert between(source, source).all == []


def test_exports_mirror_each_other() -> None:
    sources = [collect_cloud(folder, AT) for folder in VARIANTS if folder.parts[-3] == "incident_d"]
    for a in sources:
        for b in sources:
            one, other = between(a, b), between(b, a)
            assert mirrored(other) == one.all
            assert other.left_out == one.left_out


FRAMES_TO_CHANGE = ("columns", "relations", "roles", "relation_grants", "settings", "indexes", "schema_grants", "databases")


def torn(database: Source, seed: int) -> Source:
    """Return the capture with rows lost from up to three frames, and perhaps one frame lost."""
    chance, side = random.Random(seed), database
    for name in chance.sample(FRAMES_TO_CHANGE, chance.randint(0, 3)):
        count = len(database.evidence[name].frame)
        kept = sorted(chance.sample(range(count), chance.randint(count // 2, count)))
        side = with_frame(side, name, lambda frame, kept=kept: frame.iloc[kept])  # type: ignore[misc]
    return without(side, chance.choice(FRAMES_TO_CHANGE)) if chance.random() < 0.3 else side


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seeds=st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)))
def test_any_two_sides_mirror_each_other(database: Source, seeds: tuple[int, int]) -> None:
    sides = [torn(database, seed) for seed in seeds]
    one, other = between(*sides), between(*reversed(sides))
    assert sorted(mirrored(other), key=repr) == sorted(one.all, key=repr)
    assert other.left_out == one.left_out
    assert [layer.equal for layer in other.layers] == [layer.equal for layer in one.layers]


def test_counters_sizes_oids_and_times_are_left_out_and_counted(database: Source) -> None:
    def grown(frame: pd.DataFrame) -> pd.DataFrame:
        numbers = {c: frame[c] + 7 for c in frame.columns if c in LEFT_OUT_COLUMNS and pd.api.types.is_numeric_dtype(frame[c])}
        return frame.assign(**{name: values for name, values in numbers.items() if str(frame[name].dtype) != "boolean"})

    other = database
    for name in ("relations", "indexes", "databases", "relation_sizes", "table_statistics", "statements", "sessions"):
        other = with_frame(other, name, grown)
    found = between(database, other)
    assert found.all == []
    assert found.left_out["a counter, a statistic or an age"] > 50


def test_a_gap_on_either_side_is_not_compared_and_said(database: Source) -> None:
    for a, b, side in ((without(database, "policies"), database, "A"), (database, without(database, "policies"), "B")):
        found = between(a, b)
        layer = next(layer for layer in found.layers if layer.layer == "row security")
        assert (layer.status, layer.not_compared) == ("not compared", (f"policies ({side}: permission denied)",))
        assert found.all == []
        assert "policies" not in dict(layer.equal)
        assert not found.is_complete


def test_what_a_cut_frame_lacks_is_no_difference(database: Source) -> None:
    cut = with_frame(database, "columns", lambda frame: frame.head(10), truncated=True)
    found = between(database, cut)
    schema = next(layer for layer in found.layers if layer.layer == "schema")
    assert [difference.kind for difference in found.all] == []
    assert schema.not_compared == ("columns that were not seen (B)",)


def test_a_source_of_one_side_only_is_not_compared(recorded: Capture) -> None:
    database, cloud = recorded.sources
    found = compare_sources([(database, database), (cloud, None)])
    assert found.layers[0].not_compared[-1] == "source cloud, which only A has"
    assert found.all == []


def test_what_hangs_on_a_missing_table_is_not_told_again_but_the_symptom_s_table_is(database: Source) -> None:
    def dropped(source: Source, **by: str) -> Source:
        for name in ("schemas", "relations", "columns", "indexes", "relation_grants", "foreign_keys", "schema_grants"):
            columns = source.evidence[name].frame.columns
            if set(by) <= set(columns):
                source = with_frame(source, name, lambda frame: frame[~(frame[list(by)] == list(by.values())).all(axis=1)])
        return source

    other = dropped(database, schema_name="auth", relation_name="siwe_nonces")
    assert [(d.kind, d.subject) for d in between(database, other).all] == [("relation", "auth.siwe_nonces")]
    other = dropped(database, schema_name="auth")
    kinds = Counter(d.kind for d in between(database, other).all)
    assert (kinds["schema"], kinds["relation"], kinds["column"]) == (1, 0, 0)
    found = between(database, other, 'relation "siwe_nonces" does not exist')
    assert ("relation", "auth.siwe_nonces") in [(d.kind, d.subject) for d in found.all]


def test_the_first_difference_stands_on_the_lowest_rung(database: Source) -> None:
    other = with_frame(database, "roles", lambda frame: frame.assign(can_login=~frame["can_login"]))
    other = with_frame(other, "columns", lambda frame: frame.assign(type_name="text"))
    layers = [difference.layer for difference in between(database, other).all]
    assert layers == sorted(layers, key=["authentication", "schema"].index)


def test_small_tuning_is_left_out_and_a_limit_is_told(database: Source) -> None:
    def tuned(frame: pd.DataFrame) -> pd.DataFrame:
        values = {"work_mem": "5000", "shared_buffers": "9999999", "max_connections": "90", "port": "1", "log_statement": "all"}
        return frame.assign(setting=[values.get(n, v) for n, v in zip(frame["setting_name"], frame["setting"], strict=True)])

    found = between(database, with_frame(database, "settings", tuned))
    assert [d.subject for d in found.all] == ["max_connections", "shared_buffers"]
    assert found.left_out["a capacity setting of less than twice the other"] == 1
    assert found.left_out["where a server keeps its files and listens: another machine has other places"] == 1


def test_another_target_s_address_is_left_out_and_a_restart_is_told(database: Source) -> None:
    other = with_frame(database, "session", lambda frame: frame.assign(server_port=6000, server_started_at=AT))
    restarted = between(database, other)
    assert [(d.layer, d.subject) for d in restarted.all] == [
        ("database identity", "server port"),
        ("change", "start of the server"),
    ]
    assert compare_sources([(database, other)], same_target=False).all == []


def test_services_agree_with_themselves_and_mirror(tmp_path: Path) -> None:
    frames = Frames(collect_cloud(STAGED / "incident_c" / "exports" / "failing", AT))
    auth, backend = Deployed(frames, "auth-service"), Deployed(frames, "backend")
    assert compare_services(auth, auth).all == []
    assert mirrored(compare_services(backend, auth)) == compare_services(auth, backend).all


def test_a_role_agrees_with_itself_and_two_mirror(database: Source) -> None:
    frames = Frames(database)
    assert compare_roles(frames, "shop_api", frames, "shop_api").all == []
    one, other = (compare_roles(frames, *pair) for pair in (("shop_api", frames, "migrator"), ("migrator", frames, "shop_api")))
    assert one.all
    assert mirrored(other) == one.all


def test_a_role_that_is_not_there_is_not_compared(database: Source) -> None:
    frames = Frames(database)
    found = compare_roles(frames, "shop_api", frames, "nobody")
    assert (found.all, found.is_complete) == ([], False)


def test_findings_are_gone_only_where_their_check_was_made(recorded: Capture) -> None:
    before = judged(recorded, Question("case"))
    first = before.findings()[0][0]
    left = [r.model_copy(update={"findings": []}) if r == first else r for r in before.results]
    after = before.model_copy(update={"results": left})
    changed = finding_changes(before, after)
    assert {pair[0].check for pair in (*changed.gone, *changed.not_examined)} == {first.check}
    assert len(changed.stayed) == len(before.findings()) - len(first.findings)
    skipped = [r.model_copy(update={"findings": [], "status": "skipped"}) if r == first else r for r in before.results]
    unseen = finding_changes(before, before.model_copy(update={"results": skipped}))
    assert (unseen.gone, {pair[0].check for pair in unseen.not_examined}) == ((), {first.check})
    again = finding_changes(after, before)
    assert {pair[1].fingerprint for pair in (*again.new, *again.not_examined)} == {f.fingerprint for f in first.findings}


def test_many_differences_are_summed_for_people_and_whole_for_programs(database: Source) -> None:
    other = with_frame(database, "columns", lambda frame: frame.assign(type_name="text"))
    found = between(database, other)
    side = {"name": "x", "target": "x", "captured_at": "2026-01-01T00:00:00"}
    record = {"a": side, "b": side, "status": "different", "verdict": None, **found.to_record(), "findings": None}
    words = told(record, found)
    assert words.count("\n  - column ") == 20
    assert f"… and {len(found.all) - 20} more of kind column (--json has all)" in words
    assert len(found.to_record()["layers"][4]["differences"]) == len(found.all)


def test_values_in_words() -> None:
    assert [value_words(v) for v in (None, (), ("a", "b"), 1234, "x")] == ["none", "none", "a, b", "1,234", "x"]


def test_a_frame_of_probes_is_compared_by_where_a_request_dies(database: Source) -> None:
    def probed(**row: Any) -> Source:
        values = [row.get(column.name) for column in PROBE_COLUMNS]
        evidence = Evidence(build_frame(PROBE_COLUMNS, [values]), PROBE_COLUMNS, database.evidence["roles"].provenance)
        return dataclasses.replace(database, evidence={**database.evidence, "service_probes": evidence})

    good = probed(service_name="backend", http_status=200, body_fields=["status: ok", "uptime: 25708"], name_seconds=0.1)
    bad = probed(service_name="backend", died_at="answer", error_code="TIMEOUT", body_fields=[], name_seconds=0.2)
    [found] = between(good, bad).all
    assert (found.layer, found.subject) == ("service", "backend")
    assert (found.a, found.b) == (
        "died at none, status 200, error none, says status: ok",
        "died at answer, status none, error TIMEOUT, says none",
    )
    later = probed(service_name="backend", http_status=200, body_fields=["status: ok", "uptime: 25999"], name_seconds=0.3)
    assert between(good, later).all == []
