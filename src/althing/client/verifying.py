"""Readings checked against proofs: each message is proved, resolved again here, and compared with what the node said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from althing.client.errors import LyingNodeError
from althing.client.readings import Readings
from althing.light.verifier import Verified, verify_proof
from althing.protocol.batch import Origin
from althing.protocol.errors import AlthingError
from althing.protocol.leafreadings import resolve_leaf, value_text
from althing.protocol.schema import StreamSchema
from althing.protocol.timestamps import parse_time
from althing.protocol.trust import Trust

__all__ = ["check_readings", "verify_all"]


def verify_all(stream: str, sequences: Sequence[int], proofs: Sequence[bytes], trust: Trust) -> dict[int, Verified]:
    """Each proof verifies and is that of its sequence, else LyingNodeError."""
    verified = {}
    for sequence, proof in zip(sequences, proofs, strict=True):
        try:
            found = verify_proof(proof, trust)
        except AlthingError as exc:
            raise LyingNodeError(f"the proof of {stream} sequence {sequence} does not verify: {exc.message}") from exc
        if found.stream != stream or found.sequence != sequence:
            raise LyingNodeError(
                f"the node proved {found.stream} sequence {found.sequence}, asked was {stream} {sequence}"
            )
        verified[sequence] = found
    return verified


def check_readings(
    readings: Readings, verified: Mapping[int, Verified], schemas: Mapping[int, StreamSchema], trust: Trust
) -> None:
    """Every row equals the reading its proved message resolves to; LyingNodeError names the first that does not.

    `schemas` are by schema version. Flags that depend on the messages before (`out_of_order`) are not compared.
    """
    resolved = {
        sequence: {
            (reading.index, reading.quantity): reading
            for reading in resolve_leaf(found.leaf, schemas[found.row.schema_version], trust.genesis_hash, None).records
        }
        for sequence, found in verified.items()
    }
    for row in readings:
        reading = resolved[row.sequence].get((row.index, row.quantity))
        found = verified[row.sequence]
        address = f"{row.stream} sequence {row.sequence} index {row.index} {row.quantity}"
        if reading is None:
            raise LyingNodeError(f"the message does not hold the reading {address}")
        said = (row.value, row.unit, row.kind, _ns(row.device_time), _ns(row.arrival_time), row.origin)
        proved = (
            value_text(reading.value),
            reading.unit,
            reading.kind.name.lower(),
            reading.device_time_ns,
            found.leaf.arrival,
            "device" if found.origin is Origin.DEVICE else "gateway",
        )
        if said != proved:
            raise LyingNodeError(f"the reading {address} is not what the message says: {_difference(said, proved)}")


def _difference(said: tuple[object, ...], proved: tuple[object, ...]) -> str:
    names = ("value", "unit", "kind", "device_time", "arrival_time", "origin")
    return ", ".join(f"{name} {a!r} instead of {b!r}" for name, a, b in zip(names, said, proved, strict=True) if a != b)


def _ns(text: str | None) -> int | None:
    return None if text is None else parse_time(text, "rfc3339", 0)
