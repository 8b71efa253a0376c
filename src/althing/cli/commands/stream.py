"""althing stream: streams, their readings, and exports that a stranger can verify."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from althing.archive.export import ExportRequest, export_stream
from althing.archive.exportcheck import verify_export
from althing.archive.objects import LocalObjects
from althing.archive.query import parse_axis
from althing.archive.reader import ArchiveReader
from althing.cli.help import examples
from althing.cli.options import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    KeyOption,
    NodeOption,
    admin_signer,
    gateway_address,
    guarded,
    open_client,
    require_home,
)
from althing.cli.output import EXIT_FAILED, emit, note, table, working
from althing.cli.streamspec import parse_stream
from althing.client.errors import ClientError
from althing.ledger.query import LedgerView
from althing.ledger.state.store import StateStore
from althing.light.verifier import verify_proof
from althing.node.home import Home
from althing.node.offline import offline_proofs
from althing.node.sources import ChainAnchors
from althing.node.trustway import Pin
from althing.protocol.address import stream_path
from althing.protocol.errors import UnavailableError
from althing.protocol.genesis import genesis_hash
from althing.protocol.timestamps import parse_time
from althing.protocol.trust import parse_trust
from althing.storage.registry import open_backend

__all__ = ["app", "define", "export", "list_streams", "readings", "show", "verify_exported"]

app = typer.Typer(
    name="stream", help="Streams: define, list, show, readings, export, verify-export.", no_args_is_help=True
)


@app.command("define", **examples("althing stream define my-device vibration=rms:mm/s"))
@guarded
def define(
    device: Annotated[str, typer.Argument(help="Device that has the stream.")],
    stream: Annotated[str, typer.Argument(help="NAME or NAME=QUANTITY:UNIT,…")],
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Define another stream of a device."""
    name, schema = parse_stream(stream)
    gateway = gateway_address(home)
    with open_client(home, node, signer=admin_signer(home, key)) as client:
        done = client.define_stream(f"{device}/{name}", gateway, schema)
    emit({"stream": f"{device}/{name}", "height": done.height}, f"{device}/{name} is defined", as_json=as_json)


@app.command("list", **examples("althing stream list"))
@guarded
def list_streams(home: HomeOption = DEFAULT_HOME, node: NodeOption = "", as_json: JsonOption = False) -> None:
    """List streams with their quantities and how far they are anchored."""
    found: list[dict[str, Any]] = []
    with open_client(home, node) as client:
        cursor = None
        while True:
            page = client.get("streams", limit=1000, cursor=cursor)
            found.extend(page["streams"])
            cursor = page["next"]
            if cursor is None:
                break
    rows = [
        {**item, "quantities": ", ".join(f"{q['name']} [{q['unit']}]" for q in item["quantities"])} for item in found
    ]
    columns = ("stream", "next_sequence", "quantities")
    emit(found, table(columns, rows, empty="no streams yet"), as_json=as_json)


@app.command("show", **examples("althing stream show office-machine/temperature"))
@guarded
def show(
    stream: Annotated[str, typer.Argument(help="<device>/<stream>")],
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show a stream's definition and head."""
    stream_path(stream)
    with open_client(home, node) as client:
        document = client.get(f"streams/{stream}")
    emit(document, json.dumps(document, indent=2, ensure_ascii=False), as_json=as_json)


@app.command(
    "readings",
    **examples(
        "althing stream readings office-machine/temperature --newest --limit 5",
        "althing stream readings office-machine/temperature --from 2013-07-04T00:00:00Z --to 2013-07-05T00:00:00Z --json",
    ),
)
@guarded
def readings(
    stream: Annotated[str, typer.Argument(help="<device>/<stream>")],
    time: Annotated[str, typer.Option("--time", help="Order and range by device, arrival or block time.")] = "device",
    start: Annotated[str | None, typer.Option("--from", help="RFC 3339, included.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="RFC 3339, not included.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="How many at most.")] = 20,
    newest: Annotated[bool, typer.Option("--newest", help="Newest first.")] = False,
    verify: Annotated[bool, typer.Option("--verify/--no-verify", help="Prove every message.")] = True,
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Print readings with their addresses; each message they come from is proved unless --no-verify."""
    stream_path(stream)
    with open_client(home, node) as client, working("reading and proving", as_json=as_json) as progress:
        task = progress.add_task("", total=limit)
        found = client.readings(
            stream,
            time=time,
            start=start,
            end=end,
            limit=limit,
            newest_first=newest,
            verify=verify,
            progress=lambda done: progress.update(task, completed=done),
        )
    rows = [
        {
            "sequence": row.sequence,
            "index": row.index,
            "quantity": row.quantity,
            "value": "" if row.value is None else row.value,
            "unit": row.unit,
            "device_time": row.device_time or "",
            "arrival_time": row.arrival_time,
            "flags": " ".join(row.flags),
            "origin": row.origin,
        }
        for row in found
    ]
    columns = ("sequence", "index", "device_time", "quantity", "value", "unit", "flags", "origin")
    emit(rows, table(columns, rows, empty="no readings in this range"), as_json=as_json)


@contextmanager
def _proofs(home: Path, node: str) -> Iterator[Callable[[str, int], bytes]]:
    """Proof files from the running node, else from the stopped home; made for the home's trust file."""
    trust = parse_trust(Home(home).trust_file.read_bytes())
    with ExitStack() as stack:
        try:
            client = stack.enter_context(open_client(home, node))
        except UnavailableError as error:
            if error.code != "node.unavailable":
                raise
            note("the node is not running; reading its home")
            yield partial(stack.enter_context(offline_proofs(Home(home))).proof, pin=Pin.of(trust))
        else:
            yield partial(client.proof, trust=trust)


@app.command(
    "export",
    **examples(
        "althing stream export office-machine/temperature -o export",
        "althing stream export office-machine/temperature -o export-2013 --format parquet --to 2014-01-01T00:00:00Z",
    ),
)
@guarded
def export(
    stream: Annotated[str, typer.Argument(help="<device>/<stream>")],
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder.")],
    format_: Annotated[str, typer.Option("--format", help="csv or parquet.")] = "csv",
    time: Annotated[str, typer.Option("--time", help="device, arrival or block.")] = "device",
    start: Annotated[str | None, typer.Option("--from", help="RFC 3339, included.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="RFC 3339, not included.")] = None,
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Export a stream with a manifest, its messages and proofs, so that a stranger can verify it.

    A copy of this home's trust file goes with it. Whoever verifies should compare it with one they have from elsewhere.
    """
    stream_path(stream)
    place = require_home(home)
    genesis = place.genesis()
    backend = open_backend("lmdb", place.state_dir, readonly=True)
    try:
        store = StateStore(backend)
        view = LedgerView(store)
        definition = view.stream(stream)
        head = view.head(definition.id)
        if head.next_sequence == 0:
            raise ClientError(
                "cli.empty", f"stream {stream} has no anchored messages yet", hint="wait for the next batch"
            )
        request = ExportRequest(
            genesis.chain_id,
            genesis_hash(genesis),
            definition.id,
            stream,
            0,
            head.next_sequence,
            parse_axis(time),
            _ns(start),
            _ns(end),
            None,
            format_,
        )
        reader = ArchiveReader(LocalObjects(place.archive_dir, read_only=True), anchors=ChainAnchors(store))
        try:
            with _proofs(home, node) as proof, working("proving batches", as_json=as_json) as progress:
                task = progress.add_task("", total=None)

                def prove(sequence: int) -> bytes:
                    progress.advance(task)
                    return proof(stream, sequence)

                done = export_stream(reader, request, output, proof=prove)
        finally:
            reader.close()
    finally:
        backend.close()
    (output / "trust.json").write_bytes(place.trust_file.read_bytes())
    document = {
        "folder": str(output),
        "rows": done.rows,
        "messages": done.messages,
        "proofs": done.proofs,
        "manifest_sha256": done.manifest_sha256.hex(),
    }
    emit(
        document,
        f"{done.rows} readings of {done.messages} messages in {output}, {done.proofs} proofs\n"
        f"manifest SHA-256 {done.manifest_sha256.hex()}\n"
        f"verify it anywhere: althing stream verify-export {output} --trust {output / 'trust.json'}",
        as_json=as_json,
    )


@app.command("verify-export", **examples("althing stream verify-export export --trust ~/.althing/trust.json"))
@guarded
def verify_exported(
    folder: Annotated[Path, typer.Argument(help="Folder of an export.")],
    trust: Annotated[Path, typer.Option("--trust", help="Trust file that you believe in.")],
    as_json: JsonOption = False,
) -> None:
    """Verify an export offline: every row against its message, every message against a proved batch."""
    if not (folder / "manifest.json").exists():
        raise ClientError(
            "cli.file", f"{folder} is not an export: it has no manifest.json", hint="althing stream export makes one"
        )
    trusted = parse_trust(trust.read_bytes())

    def check(data: bytes) -> tuple[str, bytes, str, int, bytes]:
        found = verify_proof(data, trusted)
        return trusted.chain_id, trusted.genesis_hash, found.stream, found.sequence, found.row.batch_root

    with working("verifying", as_json=as_json) as progress:
        task = progress.add_task("", total=None)
        result = verify_export(
            folder, check_proof=check, progress=lambda done, total: progress.update(task, completed=done, total=total)
        )
    findings = [{"code": f.code, "where": f.where, "message": f.message} for f in result.findings]
    document = {
        "ok": result.ok and result.proved == result.batches,
        "rows": result.rows,
        "messages": result.messages,
        "batches": result.batches,
        "proved": result.proved,
        "findings": findings,
    }
    text = f"{result.rows} rows, {result.messages} messages, {result.proved} of {result.batches} batches proved: "
    verdict = "VERIFIED" if document["ok"] else "NOT VERIFIED"
    emit(
        document,
        "\n".join([text + verdict, *(f"  {f['code']} {f['where']}: {f['message']}" for f in findings)]),
        as_json=as_json,
    )
    if not document["ok"]:
        raise typer.Exit(EXIT_FAILED)


def _ns(text: str | None) -> int | None:
    if text is None:
        return None
    found = parse_time(text, "rfc3339", 0)
    if found is None:
        raise ClientError("cli.time", f"{text!r} is not an RFC 3339 time", hint="2026-11-22T10:00:00Z")
    return found
