"""althing segment: the archive's files."""

from __future__ import annotations

from typing import Annotated

import typer

from althing.archive.catalogue import Catalogue
from althing.archive.objects import LocalObjects
from althing.archive.verify import verify_segment
from althing.cli.help import examples
from althing.cli.options import DEFAULT_HOME, HomeOption, JsonOption, guarded, require_home
from althing.cli.output import EXIT_FAILED, emit, table, working
from althing.client.errors import ClientError
from althing.ledger.state.store import StateStore
from althing.node.anchorindex import AnchorIndex
from althing.protocol.genesis import genesis_hash
from althing.storage.registry import open_backend

__all__ = ["app", "list_segments", "verify"]

app = typer.Typer(name="segment", help="Segments of the archive: list, verify.", no_args_is_help=True)


@app.command("list", **examples("althing segment list"))
@guarded
def list_segments(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the segments of the home's archive."""
    catalogue = Catalogue(LocalObjects(require_home(home).archive_dir, read_only=True))
    catalogue.refresh()
    rows = [{"name": str(segment.name), "bytes": segment.size} for segment in catalogue.segments()]
    emit(rows, table(("name", "bytes"), rows, empty="no segments yet"), as_json=as_json)


@app.command("verify", **examples("althing segment verify", "althing segment verify --json"))
@guarded
def verify(
    name: Annotated[list[str] | None, typer.Argument(help="Segments by name; default: all.")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Recompute leaves, roots and every decoded column of segments, and compare them with the chain's anchors."""
    place = require_home(home)
    objects = LocalObjects(place.archive_dir, read_only=True)
    catalogue = Catalogue(objects)
    catalogue.refresh()
    digest = genesis_hash(place.genesis())
    wanted = set(name or ())
    segments = sorted(
        (s for s in catalogue.segments() if not wanted or str(s.name) in wanted), key=lambda s: str(s.name)
    )
    damaged = {str(n): e for n, e in catalogue.damaged().items() if not wanted or str(n) in wanted}
    if absent := sorted(wanted - {str(segment.name) for segment in segments} - damaged.keys()):
        raise ClientError("cli.segment", f"there is no segment {absent[0]}", hint="althing segment list")
    backend = open_backend("lmdb", place.state_dir, readonly=True)
    try:
        anchors = AnchorIndex(StateStore(backend))
        carried: dict[int, tuple[int, int | None]] = {}
        results = []
        with working("verifying segments", as_json=as_json) as progress:
            for segment in progress.track(segments):
                path = objects.local_path(str(segment.name))
                results.append(verify_segment(path, digest, name=segment.name, anchors=anchors, carried=carried))
    finally:
        backend.close()
    findings = [
        {"segment": result.name, "code": finding.code, "where": finding.where, "message": finding.message}
        for result in results
        for finding in result.findings
    ]
    findings += [
        {"segment": text, "code": error.code, "where": text, "message": error.message}
        for text, error in damaged.items()
    ]
    document = {
        "segments": len(results) + len(damaged),
        "batches": sum(result.batches for result in results),
        "leaves": sum(result.leaves for result in results),
        "readings": sum(result.readings for result in results),
        "findings": findings,
        "ok": not findings,
    }
    text = (
        f"{document['segments']} segments, {document['batches']} batches, {document['leaves']} messages, "
        f"{document['readings']} readings: " + ("all hold" if not findings else f"{len(findings)} findings")
    )
    lines = [f"  {f['code']}  {f['segment']}  {f['where']}: {f['message']}" for f in findings]
    emit(document, "\n".join([text, *lines]), as_json=as_json)
    if findings:
        raise typer.Exit(EXIT_FAILED)
