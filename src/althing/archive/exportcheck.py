"""Checking an export without the archive, the chain or a network; whoever got the folder can do it.

Steps: 1 files are those of the manifest; 2 each leaf leads to its batch root; 3 the sequences are complete; 4 the table is
exactly what the leaves resolve to; 5 each batch root is proved, where the caller can check proofs. Without 5 the export
only agrees with itself: `Checked.proved` says how many of the batches are tied to the chain.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from althing.archive.errors import ArchiveError
from althing.archive.export import COLUMNS, FORMAT, ExportRequest, row_texts, rows_of
from althing.archive.query import Axis, parse_axis
from althing.archive.reader import ArchivedMessage
from althing.archive.verify import Finding
from althing.protocol.batch import parse_leaf
from althing.protocol.codec import decode
from althing.protocol.errors import AlthingError, MerkleError, ProtocolError
from althing.protocol.limits import LEAF_BYTES_MAX, PROOF_BYTES_MAX
from althing.protocol.merkle import leaf_hash, verify_inclusion
from althing.protocol.schema import StreamSchema

__all__ = ["Checked", "ProofCheck", "verify_export"]

MANIFEST_BYTES_MAX: Final = 256 << 20
LINE_BYTES_MAX: Final = 2 * LEAF_BYTES_MAX + 16_384
_INT_MAX: Final = 2**63 - 1

# Proof file → (chain id, genesis hash, stream path, sequence, batch root) that it proves, or AlthingError.
ProofCheck = Callable[[bytes], tuple[str, bytes, str, int, bytes]]
Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Checked:
    """The outcome: counts, how many of the batches have a proof that holds, and what does not hold."""

    rows: int = 0
    messages: int = 0
    batches: int = 0
    proved: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.findings


def verify_export(folder: Path, *, check_proof: ProofCheck | None = None, progress: Progress | None = None) -> Checked:
    """Check an export; the first thing that does not hold ends the check and is the finding, `archive.export_differs`.

    `progress` is told how many rows and proofs are done, of how many.
    """
    result = Checked()
    try:
        _check(folder, check_proof, result, progress)
    except ArchiveError as exc:
        result.findings.append(Finding(exc.code, exc.where, exc.message))
    except AlthingError as exc:
        # What the manifest says and the protocol does not accept, such as bytes that are no schema.
        result.findings.append(Finding("archive.export_differs", "manifest.json", exc.message))
    except (
        OSError,
        ValueError,
        TypeError,
        LookupError,
        ArithmeticError,
        RecursionError,
        csv.Error,
        pa.ArrowException,
    ) as exc:
        result.findings.append(Finding("archive.export_differs", str(folder), f"cannot be read: {exc}"))
    return result


def _check(folder: Path, check_proof: ProofCheck | None, result: Checked, progress: Progress | None) -> None:
    manifest = _manifest(folder)
    # 1
    names = [_text(item["name"]) for item in manifest["files"]]
    table = next((name for name in ("readings.csv", "readings.parquet") if name in names), "")
    proofs = {batch["proof"] for batch in manifest["batches"] if "proof" in batch}
    if not table or set(names) != {"messages.ndjson", table} | proofs or len(set(names)) != len(names):
        raise _differs("manifest.json", "the files are not those of an export")
    for item in manifest["files"]:
        name = item["name"]
        # A name from the manifest never leaves the folder.
        if name in proofs and not (name.startswith("proofs/") and name[7:-5].isdecimal() and name.endswith(".cbor")):
            raise _differs("manifest.json", f"{name!r} is not a proof's name")
        with open(folder / name, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != item["sha256"]:
            raise _differs(name, "the SHA-256 is not the manifest's")
    request = _request(manifest, table)
    schemas = {
        int(version): StreamSchema.from_cbor_obj(decode(bytes.fromhex(text)))
        for version, text in manifest["schemas"].items()
    }
    batches = {batch["root"]: batch for batch in manifest["batches"]}
    if len(batches) != len(manifest["batches"]):
        raise _differs("manifest.json", "a batch stands there twice")
    # 2, 3 and 4
    total = _count(manifest["rows"]) + (len(proofs) if check_proof is not None else 0)
    expected = _expected(folder, request, schemas, batches, result)
    for at, (row, texts) in enumerate(zip_longest(_table(folder / table), expected)):
        if row != texts:
            raise _differs(f"{table} row {at + 1}", f"is {row}, the leaves give {texts}")
        result.rows += 1
        if progress is not None:
            progress(result.rows, total)
    if result.rows != manifest["rows"]:
        raise _differs("manifest.json", f"counts {manifest['rows']} rows, there are {result.rows}")
    # 5
    result.batches = len(batches)
    for root, batch in batches.items():
        if check_proof is not None and "proof" in batch:
            _prove(folder, request, root, batch, check_proof)
            result.proved += 1
            if progress is not None:
                progress(result.rows + result.proved, total)


def _prove(folder: Path, request: ExportRequest, root: str, batch: dict[str, Any], check_proof: ProofCheck) -> None:
    name = batch["proof"]
    with open(folder / name, "rb") as file:
        data = file.read(PROOF_BYTES_MAX + 1)
    try:
        proved = check_proof(data)
    except AlthingError as exc:
        raise _differs(name, f"the proof does not hold: {exc.message}") from exc
    wanted = (request.chain_id, request.genesis_hash, request.path, batch["end"] - 1, bytes.fromhex(root))
    if proved != wanted:
        raise _differs(name, "the proof holds, but for another message or batch")


def _expected(
    folder: Path,
    request: ExportRequest,
    schemas: dict[int, StreamSchema],
    batches: dict[str, dict[str, Any]],
    result: Checked,
) -> Iterator[tuple[str, ...]]:
    """The rows that the leaves give, while each leaf is led to its root and the sequences are counted."""
    latest: int | None = None
    sequence = request.first
    ends: dict[str, int] = {}
    with open(folder / "messages.ndjson", "rb") as lines:
        while line := lines.readline(LINE_BYTES_MAX):
            message = _message(json.loads(line), request, schemas, batches, sequence)
            if not result.messages:
                latest = message.previous_max_ns
            elif message.previous_max_ns != latest:
                raise _differs(f"sequence {sequence}", "previous_max_ns is not that of the messages before")
            root = message.batch_root.hex()
            if root not in ends and batches[root]["first"] != sequence:
                raise _differs("manifest.json", f"batch {root} does not begin at sequence {sequence}")
            ends[root] = sequence + 1
            rows, latest = rows_of(message, request, latest)
            result.messages += 1
            sequence += 1
            for row in rows:
                yield row_texts(request.path, row)
    if sequence != request.end:
        raise _differs("messages.ndjson", f"ends before sequence {sequence}, the manifest says {request.end}")
    if ends != {root: batch["end"] for root, batch in batches.items()}:
        raise _differs("manifest.json", "the batches are not those of the messages")


def _message(
    item: Any,
    request: ExportRequest,
    schemas: dict[int, StreamSchema],
    batches: dict[str, dict[str, Any]],
    sequence: int,
) -> ArchivedMessage:
    where = f"sequence {sequence}"
    try:
        data = base64.b64decode(item["leaf"], validate=True)
        leaf = parse_leaf(data)
        root = bytes.fromhex(item["batch_root"])
        path = [bytes.fromhex(node) for node in item["path"]]
        verify_inclusion(root, _count(item["batch_size"]), _count(item["leaf_index"]), leaf_hash(data), path)
    except MerkleError as exc:
        raise ArchiveError("archive.root_differs", exc.message, where=where) from exc
    except ProtocolError as exc:
        raise ArchiveError("archive.leaf", exc.message, where=where) from exc
    if (leaf.stream, leaf.sequence, item["sequence"]) != (request.path, sequence, sequence):
        raise _differs(where, f"the leaf is {leaf.stream} {leaf.sequence}")
    batch = batches.get(item["batch_root"])
    if batch is None or (batch["size"], batch["height"], batch["block_time_ns"]) != (
        item["batch_size"],
        item["height"],
        item["block_time_ns"],
    ):
        raise _differs(where, "the batch is not one of the manifest")
    version = _count(item["schema_version"])
    if version not in schemas:
        raise _differs(where, f"the manifest has no schema version {version}")
    previous = item["previous_max_ns"]
    if previous is not None and (type(previous) is not int or abs(previous) > _INT_MAX):
        raise _differs(where, "previous_max_ns is not a time")
    return ArchivedMessage(
        request.stream,
        sequence,
        data,
        leaf,
        item["leaf_index"],
        root,
        bytes.fromhex(batch["gateway"]),
        _count(batch["number"]),
        _count(item["height"]),
        _count(item["block_time_ns"]),
        version,
        schemas[version],
        previous,
    )


def _table(path: Path) -> Iterator[tuple[str, ...]]:
    if path.suffix == ".csv":
        with open(path, newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            if next(rows, None) != list(COLUMNS):
                raise _differs(path.name, "the header line has other columns")
            for row in rows:
                yield tuple(row)
        return
    with pq.ParquetFile(path) as parquet:
        if parquet.schema_arrow.names != list(COLUMNS):
            raise _differs(path.name, "it has other columns")
        for batch in parquet.iter_batches():
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield tuple(str(value) for value in values)


def _manifest(folder: Path) -> dict[str, Any]:
    with open(folder / "manifest.json", "rb") as file:
        data = file.read(MANIFEST_BYTES_MAX + 1)
    if len(data) > MANIFEST_BYTES_MAX:
        raise _differs("manifest.json", "is larger than any")
    manifest = json.loads(data)
    if type(manifest) is not dict or manifest.get("format") != FORMAT:
        raise _differs("manifest.json", "is not of a format known here")
    return manifest


def _request(manifest: dict[str, Any], table: str) -> ExportRequest:
    first, end = manifest["sequences"]
    for bound in (manifest["from_ns"], manifest["to_ns"]):
        if bound is not None and type(bound) is not int:
            raise _differs("manifest.json", "a bound of time is not a number")
    return ExportRequest(
        chain_id=_text(manifest["chain_id"]),
        genesis_hash=bytes.fromhex(manifest["genesis_hash"]),
        stream=_count(manifest["stream_number"]),
        path=_text(manifest["stream"]),
        first=_count(first),
        end=_count(end),
        axis=_axis(manifest["time"]),
        start_ns=manifest["from_ns"],
        end_ns=manifest["to_ns"],
        quantity=manifest["quantity"],
        format=table.partition(".")[2],
    )


def _axis(word: Any) -> Axis:
    try:
        return parse_axis(word)
    except AlthingError as exc:
        raise _differs("manifest.json", exc.message) from exc


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _INT_MAX:
        raise ValueError(f"{value!r} is not a count")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError(f"{value!r} is not a text")
    return value


def _differs(where: str, message: str) -> ArchiveError:
    return ArchiveError("archive.export_differs", message, where=where)
