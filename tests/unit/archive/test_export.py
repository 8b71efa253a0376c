"""An export can be checked by whoever has the folder, and nothing in it can be changed unnoticed."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from althing.archive import ArchiveReader, QueryError, SegmentWriter
from althing.archive.export import ExportRequest, export_stream
from althing.archive.exportcheck import verify_export
from althing.protocol.errors import ProtocolError

from .conftest import GENESIS, SECOND, T0, Chain, Message, pack

S0 = T0 // SECOND
Reader = Callable[[], ArchiveReader]


def request(chain: Chain, form: str = "csv", **changes: object) -> ExportRequest:
    fields = {"first": 0, "end": chain.next_sequences[1], "format": form} | changes
    return ExportRequest("test-1", GENESIS, 1, "dev1/main", **fields)  # type: ignore[arg-type]


@pytest.fixture
def exported(writer: SegmentWriter, chain: Chain, make_reader: Reader, tmp_path: Path) -> Path:
    for at in range(4):
        two = [
            Message(pack(["1.50", '"x"', f"-{at}e3"], S0 - at), T0),
            Message(b"\x00", T0, "application/octet-stream"),
        ]
        writer.write(chain.anchor({1: two, 2: [Message(b"", T0, "text/csv")]}))
    folder = tmp_path / "export"
    export_stream(make_reader(), request(chain), folder, proof=lambda sequence: b"proof of %d" % sequence)
    return folder


def proof_of(chain: Chain) -> Callable[[bytes], tuple[str, bytes, str, int, bytes]]:
    def check(data: bytes) -> tuple[str, bytes, str, int, bytes]:
        if not data.startswith(b"proof of "):
            raise ProtocolError("proof.form", "not a proof")
        sequence = int(data[9:])
        return "test-1", GENESIS, "dev1/main", sequence, chain.rows(1, sequence, sequence + 1)[0].batch_root

    return check


def refresh(folder: Path, name: str) -> None:
    """The manifest's hash of a changed file, as a forger would bring it up to date."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for item in manifest["files"]:
        if item["name"] == name:
            item["sha256"] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_an_untouched_export_holds_and_its_batches_are_proved(exported: Path, chain: Chain) -> None:
    told: list[tuple[int, int]] = []
    result = verify_export(exported, check_proof=proof_of(chain), progress=lambda *done: told.append(done))
    assert result.findings == []
    total = result.rows + result.proved
    assert told == [(done, total) for done in range(1, total + 1)]
    assert (result.messages, result.batches, result.proved) == (8, 4, 4)
    with open(exported / "readings.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == result.rows
    assert (rows[0]["value"], rows[0]["sequence"], rows[0]["device_time"]) == (
        "1.50",
        "0",
        "2023-11-14T22:13:20.000000000Z",
    )


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_ranges_and_quantities_are_exported_in_both_formats(
    writer: SegmentWriter, chain: Chain, make_reader: Reader, tmp_path: Path, form: str
) -> None:
    for at in range(3):
        writer.write(chain.anchor({1: [Message(pack(["1", "2"], S0 + 2 * at), T0)]}))
    ranged = request(chain, form, start_ns=T0 + SECOND, end_ns=T0 + 4 * SECOND, quantity="t", first=0, end=2)
    assert export_stream(make_reader(), ranged, tmp_path / "e").rows == 3
    result = verify_export(tmp_path / "e")
    assert (result.findings, result.rows, result.proved) == ([], 3, 0)
    if form == "parquet":
        assert pq.read_table(tmp_path / "e" / "readings.parquet").column("value").to_pylist() == ["2", "1", "2"]


@pytest.mark.parametrize(
    ("name", "old", "new", "code"),
    [
        ("readings.csv", b"1.50", b"1.51", "archive.export_differs"),
        ("readings.csv", b"dev1/main,0,0,", b"dev1/main,1,0,", "archive.export_differs"),
        ("messages.ndjson", b'"leaf_index":0', b'"leaf_index":1', "archive.root_differs"),
        ("messages.ndjson", b'"leaf":"', b'"leaf":"AAAA', "archive.leaf"),
        ("messages.ndjson", b'"schema_version":0', b'"schema_version":1', "archive.export_differs"),
        ("proofs/1.cbor", b"of 1", b"of 3", "archive.export_differs"),
        ("proofs/1.cbor", b"proof", b"poof", "archive.export_differs"),
    ],
)
def test_a_change_is_found_with_and_without_a_forged_hash(
    exported: Path, chain: Chain, name: str, old: bytes, new: bytes, code: str
) -> None:
    path = exported / name
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    assert [one.code for one in verify_export(exported).findings] == ["archive.export_differs"]
    refresh(exported, name)
    assert [one.code for one in verify_export(exported, check_proof=proof_of(chain)).findings] == [code]


def test_a_message_left_out_is_found(exported: Path) -> None:
    path = exported / "messages.ndjson"
    lines = path.read_bytes().splitlines(keepends=True)
    for kept in (lines[1:], lines[:-1], lines[:3] + lines[4:]):
        path.write_bytes(b"".join(kept))
        refresh(exported, "messages.ndjson")
        assert not verify_export(exported).ok


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_changed_byte_crashes_the_check(exported: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["manifest.json", "messages.ndjson", "readings.csv"]), "file")
    whole = (exported / name).read_bytes()
    manifest = (exported / "manifest.json").read_bytes()
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3), "changes")):
        changed[data.draw(st.integers(0, len(whole) - 1), "at")] = data.draw(st.integers(0, 255), "byte")
    assume(bytes(changed) != whole)
    try:
        (exported / name).write_bytes(changed)
        if name != "manifest.json":
            refresh(exported, name)
        result = verify_export(exported)
        assert all(finding.code.startswith("archive.") for finding in result.findings)
    finally:
        (exported / name).write_bytes(whole)
        (exported / "manifest.json").write_bytes(manifest)


def test_wrong_requests_are_refused(writer: SegmentWriter, chain: Chain, make_reader: Reader, tmp_path: Path) -> None:
    writer.write(chain.anchor({1: [Message(pack(["1"], S0), T0)]}))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for asked, folder in (
        (request(chain, "xlsx"), tmp_path / "a"),
        (request(chain, first=1, end=1), tmp_path / "a"),
        (request(chain), tmp_path / "full"),
    ):
        with pytest.raises(QueryError):
            export_stream(make_reader(), asked, folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schemas", {"0": "ff"}),
        ("schemas", {"0": "00"}),
        ("time", "lunch"),
        ("sequences", [0]),
        ("files", 3),
        ("batches", [{}]),
    ],
)
def test_a_manifest_that_makes_no_sense_is_a_finding(exported: Path, field: str, value: object) -> None:
    manifest = json.loads((exported / "manifest.json").read_text())
    (exported / "manifest.json").write_text(json.dumps(manifest | {field: value}))
    assert [one.code for one in verify_export(exported).findings] == ["archive.export_differs"]
