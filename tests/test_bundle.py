"""A bundle is written whole or not at all, read back as it was, and refused when anything in it is not as it was."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.case.collecting import collected
from kit.errors import BundleError
from kit.evidence import bundle
from kit.evidence.columns import Column, build_frame, conform, empty_frame
from kit.evidence.model import Capture, Cost, Evidence, Gap, Provenance, Source
from kit.sandbox.server import Server
from kit.target import resolve

AT = datetime(2026, 3, 13, 12, tzinfo=UTC)
COLUMNS = (
    Column("words", "string"),
    Column("number", "Int64"),
    Column("ratio", "Float64"),
    Column("is_so", "boolean"),
    Column("at", "datetime64[us, UTC]"),
    Column("names", "list[string]"),
)
# A float cannot hold the first whole number; beside a zero and a NULL, pandas is tempted to make it one.
ROW = ("é < \ufffd", -(2**53) - 1, 0.1, None, AT, ["a", None])
ZERO = ("", 0, 0.0, False, AT, [])
VALUES = st.tuples(
    st.none() | st.text(),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.floats(),
    st.none() | st.booleans(),
    st.none() | st.datetimes(timezones=st.just(UTC)),
    st.none() | st.lists(st.none() | st.text(), max_size=3),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved bundle of a database with two frames, and of a folder of cloud exports with one."""
    bundle.save(_capture(), tmp_path / "bundle")
    return tmp_path / "bundle"


def test_a_bundle_comes_back_as_it_was_saved(folder: Path) -> None:
    loaded = bundle.load(folder)

    assert replace(loaded, sources=(), digest="") == replace(_capture(), sources=())
    for was, now in zip(_capture().sources, loaded.sources, strict=True):
        assert replace(now, evidence={}) == replace(was, evidence={})
        assert list(now.evidence) == list(was.evidence)
        for name in was.evidence:
            pd.testing.assert_frame_equal(now.evidence[name].frame, was.evidence[name].frame)
            assert now.evidence[name].columns == was.evidence[name].columns
            assert now.evidence[name].provenance == was.evidence[name].provenance


def test_a_real_capture_comes_back_as_it_was_taken(server: Server, database: str, tmp_path: Path) -> None:
    taken = collected(resolve(server.dsn(database)))

    digest = bundle.save(taken, tmp_path / "bundle")

    loaded = bundle.load(tmp_path / "bundle")
    assert loaded.digest == digest
    assert loaded.sources[0].gaps == taken.sources[0].gaps
    for name, evidence in taken.sources[0].evidence.items():
        pd.testing.assert_frame_equal(loaded.sources[0].evidence[name].frame, evidence.frame)


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(VALUES, max_size=4))
def test_every_frame_survives_parquet(rows: list[tuple[Any, ...]], tmp_path_factory: pytest.TempPathFactory) -> None:
    frame = build_frame(COLUMNS, rows)
    folder = tmp_path_factory.mktemp("any") / "bundle"

    bundle.save(_capture_of(frame), folder)

    read = bundle.load(folder).sources[0].evidence["many"].frame
    pd.testing.assert_frame_equal(read, frame)
    assert all(math.isfinite(ratio) for ratio in read["ratio"].dropna())
    assert not any("\0" in text for text in read["words"].dropna())
    shutil.rmtree(folder)


def test_a_bundle_below_a_folder_named_like_a_partition_gains_no_column(tmp_path: Path) -> None:
    folder = tmp_path / "words=partition" / "bundle"

    bundle.save(_capture(), folder)

    assert list(bundle.load(folder).sources[0].evidence["many"].frame) == [column.name for column in COLUMNS]


def test_only_its_owner_may_look_into_a_bundle(folder: Path) -> None:
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]

    assert len(folders) == 3
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}


def test_a_bundle_is_never_replaced(folder: Path) -> None:
    content = (folder / "manifest.json").read_bytes()

    with pytest.raises(BundleError, match="exists already"):
        bundle.save(_capture(), folder)

    assert (folder / "manifest.json").read_bytes() == content


@pytest.mark.parametrize("file", ["database/many.parquet", "database/none.parquet", "cloud/many.parquet"])
def test_one_altered_byte_of_a_frame_is_refused(folder: Path, file: str) -> None:
    content = (folder / file).read_bytes()
    for position in range(0, len(content), 37):
        (folder / file).write_bytes(_altered(content, position))
        with pytest.raises(BundleError, match=r"missing or was altered") as caught:
            bundle.load(folder)
        assert file in str(caught.value)

    (folder / file).write_bytes(content)
    bundle.load(folder)


def test_one_altered_byte_of_the_manifest_is_refused(folder: Path) -> None:
    content = (folder / "manifest.json").read_bytes()
    for position in range(0, len(content), 7):
        (folder / "manifest.json").write_bytes(_altered(content, position))
        with pytest.raises(BundleError):
            bundle.load(folder)

    (folder / "manifest.json").write_bytes(content)
    bundle.load(folder)


@pytest.mark.parametrize("length", [0, 1, 4, 100, -1])
def test_a_truncated_frame_is_refused(folder: Path, length: int) -> None:
    file = folder / "database/many.parquet"
    file.write_bytes(file.read_bytes()[:length])

    with pytest.raises(BundleError, match="missing or was altered"):
        bundle.load(folder)


@pytest.mark.parametrize("length", [0, 1, 4, 100, -1, -9])
def test_a_frame_that_was_truncated_before_it_was_hashed_is_refused(folder: Path, length: int) -> None:
    file = folder / "database/many.parquet"
    file.write_bytes(file.read_bytes()[:length])
    _sign(folder, lambda manifest: _entry(manifest).update(sha256=bundle._sha256(file)))

    with pytest.raises(BundleError, match=r"many\.parquet cannot be read"):
        bundle.load(folder)


def test_bytes_altered_before_they_were_hashed_are_refused_or_read_but_never_an_error_of_another_kind(folder: Path) -> None:
    file = folder / "database/many.parquet"
    content = file.read_bytes()
    refused = 0
    for position in range(0, len(content), 23):
        file.write_bytes(_altered(content, position))
        _sign(folder, lambda manifest: _entry(manifest).update(sha256=bundle._sha256(file)))
        try:
            bundle.load(folder)
        except BundleError:
            refused += 1

    assert refused


@pytest.mark.parametrize("length", [0, 1, 500, -3])
def test_a_truncated_manifest_is_refused(folder: Path, length: int) -> None:
    manifest = folder / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:length])

    with pytest.raises(BundleError, match="not whole"):
        bundle.load(folder)


@pytest.mark.parametrize("text", ["[]", "{}", "null", "3", '{"format": true}', '{"format": "1"}', '{"format": 0}'])
def test_what_is_no_manifest_is_refused(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)

    with pytest.raises(BundleError, match="not a bundle's manifest"):
        bundle.load(folder)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[" * 100_000])
def test_a_manifest_that_cannot_be_parsed_is_refused(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)

    with pytest.raises(BundleError, match="not whole"):
        bundle.load(folder)


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no readable manifest\.json"):
        bundle.load(tmp_path)
    assert not bundle.is_bundle(tmp_path)


def test_a_later_format_is_refused_with_the_way_out(folder: Path) -> None:
    _sign(folder, lambda manifest: manifest.update(format=bundle.FORMAT + 1, something_new=1))

    with pytest.raises(BundleError, match=r"of format 2; this kit reads up to 1\. Update incident-kit"):
        bundle.load(folder)


def test_an_unknown_key_in_a_signed_manifest_is_refused(folder: Path) -> None:
    _sign(folder, lambda manifest: manifest.update(something_new=1))

    with pytest.raises(BundleError, match="not a bundle's manifest"):
        bundle.load(folder)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "database/../../outside.parquet", "../bundle-2/x", ".."])
def test_a_file_outside_the_bundle_is_never_opened(folder: Path, name: str) -> None:
    shutil.copy(folder / "database/many.parquet", folder.parent / "outside.parquet")
    _sign(folder, lambda manifest: _entry(manifest).update(file=name))

    with pytest.raises(BundleError, match="outside the bundle"):
        bundle.load(folder)


@pytest.mark.parametrize("link", ["database/many.parquet", "database"])
def test_a_link_out_of_the_bundle_is_not_followed(folder: Path, link: str) -> None:
    outside = folder.parent / "outside"
    (folder / link).rename(outside)
    (folder / link).symlink_to(outside)

    with pytest.raises(BundleError, match="outside the bundle"):
        bundle.load(folder)


def test_a_hard_link_to_another_file_is_refused_by_its_content(folder: Path) -> None:
    other = folder.parent / "other"
    other.write_text("root:x:0:0")
    (folder / "database/many.parquet").unlink()
    os.link(other, folder / "database/many.parquet")

    with pytest.raises(BundleError, match="missing or was altered") as caught:
        bundle.load(folder)

    assert "root:x" not in str(caught.value)


def test_a_pipe_in_place_of_a_frame_does_not_hang(folder: Path) -> None:
    (folder / "database/many.parquet").unlink()
    os.mkfifo(folder / "database/many.parquet")

    with pytest.raises(BundleError, match="missing or was altered"):
        bundle.load(folder)


def test_a_column_of_another_type_than_declared_is_refused(folder: Path) -> None:
    _sign(folder, lambda manifest: _entry(manifest)["columns"][0].update(dtype="Int64"))

    with pytest.raises(BundleError, match="Column 'words' is not Int64"):
        bundle.load(folder)


def test_an_unknown_type_of_column_is_refused(folder: Path) -> None:
    _sign(folder, lambda manifest: _entry(manifest)["columns"][0].update(dtype="object"))

    with pytest.raises(BundleError, match="declares 'object'"):
        bundle.load(folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here, so a full disk is NOT tested: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("free_kilobytes", range(0, 64, 4))
def test_a_full_disk_is_told_in_a_sentence_and_leaves_no_half_bundle(small_disk: Path, free_kilobytes: int) -> None:
    (small_disk / "filler").write_bytes(b"\1" * 1024 * (64 - free_kilobytes))
    large = _capture_of(build_frame(COLUMNS, [(os.urandom(50).hex(), n, n / 3, True, AT, None) for n in range(4000)]))

    with pytest.raises(BundleError, match="No space left on device"):
        bundle.save(large, small_disk / "bundle")

    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def test_a_full_disk_that_still_has_room_for_a_bundle_takes_it(small_disk: Path) -> None:
    bundle.save(_capture(), small_disk / "bundle")

    assert bundle.load(small_disk / "bundle").target == "shop"


def test_an_interrupted_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bundle, "_digest", interrupt)

    with pytest.raises(KeyboardInterrupt):
        bundle.save(_capture(), tmp_path / "bundle")

    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_made_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(BundleError, match="cannot be made"):
        bundle.save(_capture(), tmp_path / "file" / "bundle")


def _capture() -> Capture:
    many, none = build_frame(COLUMNS, [ROW, ZERO, (None,) * 6]), empty_frame(COLUMNS)
    database = Source("database", "postgres", "laptop", None, {"many": _evidence(many), "none": _evidence(none)})
    gap = Gap(kind="not given", reason="no file")
    cloud = Source("cloud", "cloud", "exports", None, {"many": _evidence(many)}, {"services": gap})
    return Capture("shop", AT, AT, "0.1.0", (database, cloud), Cost(statements=3, server_ms=1.5, rows=2))


def _capture_of(frame: pd.DataFrame) -> Capture:
    source = Source("database", "postgres", "laptop", None, {"many": _evidence(frame)})
    return Capture("shop", AT, AT, "0.1.0", (source,), Cost())


def _evidence(frame: pd.DataFrame) -> Evidence:
    provenance = Provenance(title="T", grain="g", text="select", text_sha256="0", at=AT, seconds=0.5, rows=len(frame))
    return Evidence(conform(frame, COLUMNS), COLUMNS, provenance)


def _altered(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


def _entry(manifest: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = manifest["sources"][0]["evidence"][0]
    return entry


def _sign(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Alter the manifest as somebody would who can compute its digest."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    manifest["digest"] = bundle._digest(manifest)
    path.write_text(json.dumps(manifest))
