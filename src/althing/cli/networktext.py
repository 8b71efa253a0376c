"""What `/v1/network` answers, as text for people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

__all__ = ["network_text"]

_RECENT = 40  # marks shown of each validator; the terminal is narrow
_ID = 12


def network_text(document: Mapping[str, Any], now_s: float) -> str:
    """A head, the validators, the peers. Times are told as how long ago they are, by this machine's clock."""
    node, sync, window = document["node"], document["sync"], document["window"]
    lines = [
        f"chain      {document['chain_id']}, height {sync['height']}, {sync['phase']}"
        + (f" ({', '.join(sync['conditions'])})" if sync["conditions"] else ""),
        f"node       {node['name']}"
        + (f" of {node['organisation']}" if node["organisation"] else "")
        + (f", validator {node['validator'][:_ID]}" if node["validator"] else ", no validator"),
        f"versions   althing {node['software']}, {node['engine']} {node['engine_version']}, rules {node['app_version']}",
    ]
    if sync["peers_height"] is not None:
        behind = sync["blocks_behind"]
        lines.append(f"peers at   {sync['peers_height']}" + (f", this node lacks {behind} blocks" if behind else ""))
    lines += [
        "",
        f"validators, and what they signed of blocks {window['first']} to {window['last']} (s signed, m missed, n nil)",
    ]
    lines += _aligned([_validator(found, document["total_power"]) for found in document["validators"]])
    peers = document["peers"]
    lines += ["", f"peers: {sum(peer['connected'] for peer in peers)} connected"]
    lines += _aligned([_peer(peer, now_s) for peer in peers])
    return "\n".join(lines)


def _validator(found: Mapping[str, Any], total: int) -> list[str]:
    share = found["signed_share"]
    power = f"{100 * found['power'] / total:.0f} %" if total else ""
    return [
        found["address"][:_ID],
        (found["organisation_name"] or "-") + (" (this node)" if found["this_node"] else ""),
        f"power {found['power']} ({power})",
        "signs two blocks on" if share is None else f"signed {100 * share:.1f} %",
        f"missed {found['missed']}",
        f"proposed {found['proposed']}",
        found["marks"][-_RECENT:],
    ]


def _peer(peer: Mapping[str, Any], now_s: float) -> list[str]:
    seen = "never seen" if peer["last_seen"] is None else f"seen {_ago(peer['last_seen'], now_s)}"
    return [
        peer["id"][:_ID],
        peer["name"] or "-",
        f"connected, {peer['direction']}" if peer["connected"] else "gone",
        peer["address"] or peer["address_kind"],
        peer["version"] or "-",
        "-" if peer["height"] is None else f"height {peer['height']}",
        seen,
    ]


def _ago(time: str, now_s: float) -> str:
    seconds = max(0, int(now_s - datetime.fromisoformat(time).timestamp()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
