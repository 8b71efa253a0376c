"""Damage in the archive of a running system: told by code where it is read, found by `althing segment verify`."""

from __future__ import annotations

import json

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from althing.archive.table import SCHEMA, writer
from althing.cli.main import app
from althing.light.verifier import verify_proof
from althing.protocol.trust import parse_trust

STREAM = "sim-0/s0"


def verify(site):
    """Exit code and findings of `althing segment verify`."""
    done = CliRunner().invoke(app, ["segment", "verify", "--home", str(site.path), "--json"])
    document = json.loads(done.stdout.splitlines()[-1])
    return done.exit_code, {finding["code"] for finding in document["findings"]}


@pytest.fixture
def site(world, tmp_path):
    with world.copy(tmp_path) as one:
        one.segments = sorted((one.path / "archive").rglob("*.parquet"))
        assert one.segments
        yield one


def holds_first(site):
    """The segment with the stream's first message."""
    return min(
        site.segments, key=lambda path: pq.read_table(path, columns=["anchor_number"])["anchor_number"][0].as_py()
    )


def ask(site, path, **params):
    return httpx2.get(f"{site.api}/v1/{path}", params=params, timeout=30)


def test_a_sound_archive_holds(site):
    assert verify(site) == (0, set())


def test_a_truncated_segment_is_unavailable_and_found(site):
    path = holds_first(site)
    path.write_bytes(path.read_bytes()[:-100])
    assert verify(site) == (1, {"archive.truncated"})
    site.start("node")
    for answer in (ask(site, f"proofs/{STREAM}/0"), ask(site, f"streams/{STREAM}/readings")):
        assert answer.status_code == 503, answer.text
        assert answer.json()["code"] == "archive.segment_unavailable"
    assert ask(site, "status").status_code == 200
    site.stop("node")


def test_a_missing_segment_is_unavailable_and_comes_back(site):
    path = holds_first(site)
    data = path.read_bytes()
    path.unlink()
    site.start("node")
    answer = ask(site, f"proofs/{STREAM}/0")
    assert (answer.status_code, answer.json()["code"]) == (503, "archive.segment_unavailable")
    path.write_bytes(data)
    answer = ask(site, f"proofs/{STREAM}/0")
    assert answer.status_code == 200
    verify_proof(answer.content, parse_trust(site.home.trust_file.read_bytes()), require_device=True)
    site.stop("node")


def test_a_doctored_column_is_found(site):
    path = holds_first(site)
    file = pq.ParquetFile(path)
    metadata = {key.decode(): value.decode() for key, value in file.metadata.metadata.items()}
    groups = [file.read_row_group(at).cast(SCHEMA).to_pylist() for at in range(file.metadata.num_row_groups)]
    reading = next(row for row in groups[-1] if row["coefficient"] is not None)
    reading["coefficient"] += 1
    with writer(path) as out:
        for rows in groups:
            out.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
        out.add_key_value_metadata(metadata)
    assert verify(site) == (1, {"archive.column_differs", "archive.hash_differs"})
