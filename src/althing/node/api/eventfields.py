"""Names for the values of each event, as JSON shows them: one line an event, in the order in which modules emit values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from althing.node.api.render import enum_name, plain, time_of_ns
from althing.protocol.messages.devices import DeviceState
from althing.protocol.messages.identity import AccountKind, AccountStatus

__all__ = ["EVENT_FIELDS", "event_json"]

_Field = str | tuple[str, Callable[[Any], Any]]

EVENT_FIELDS: Final[dict[str, tuple[_Field, ...]]] = {
    "block": ("height", "hash", ("time", time_of_ns), "transactions"),
    "governance.admitted": ("organisation", "name"),
    "governance.organisation": ("organisation",),
    "governance.parameters": (),
    "governance.validator": ("public_key", "power"),
    "governance.upgrade": ("height",),
    "governance.expelled": ("organisation",),
    "governance.proposed": ("proposal", "organisation", "content"),
    "governance.voted": ("proposal", "organisation", "agree"),
    "governance.executed": ("proposal",),
    "governance.rejected": ("proposal",),
    "governance.withdrawn": ("proposal",),
    "governance.offence": ("public_key", "organisation", "kind", "height"),
    "governance.validator_suspended": ("public_key", "organisation", "power"),
    "governance.alarm": ("validator", "why"),
    "identity.created": ("account", ("kind", lambda v: enum_name(AccountKind(v))), "organisation", "name"),
    "identity.status": ("account", ("status", lambda v: enum_name(AccountStatus(v)))),
    "identity.keys": ("account", "added", "ended"),
    "identity.attribute": ("account", "name"),
    "devices.registered": ("device", "address", "organisation", "by_device"),
    "devices.state": ("device", ("state", lambda v: enum_name(DeviceState(v))), "reason"),
    "devices.gateway": ("device", "gateway"),
    "devices.metadata": ("device",),
    "assets.defined": ("unit", "issuer", "decimals", "cap"),
    "assets.minted": ("unit", "recipient", "amount"),
    "assets.burned": ("unit", "account", "amount"),
    "assets.transferred": ("unit", "sender", "recipient", "amount", "memo"),
    "assets.unit_frozen": ("unit", "frozen"),
    "assets.balance_frozen": ("unit", "account", "frozen"),
    "assets.locked": ("escrow", "unit", "sender", "recipient", "amount"),
    "assets.settled": ("escrow", "unit", "to", "amount", "released"),
    "staking.joined": ("organisation", "name", "amount"),
    "staking.bonded": ("organisation", "account", "amount"),
    "staking.unbonding": ("organisation", "recipient", "amount", "due"),
    "staking.released": ("organisation", "recipient", "amount"),
    "staking.left": ("organisation",),
    "staking.key": ("organisation", "public_key"),
    "staking.slashed": ("organisation", "public_key", "amount", "jailed_until"),
    "staking.unjailed": ("organisation",),
    "staking.parameters": (),
    "streams.defined": ("number", "stream", "gateway"),
    "streams.updated": ("number", "schema_version"),
    "streams.handed_over": ("number", "gateway", "next_sequence"),
    "streams.anchored": ("gateway", "number", "root", "size", "streams"),
    "streams.anchored_before": ("gateway", "number", "root"),
}


def event_json(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """The values by name, and all of them in order under `values` for events that a client knows by position."""
    named: dict[str, Any] = {}
    for field, value in zip(EVENT_FIELDS.get(name, ()), values, strict=False):
        if isinstance(field, str):
            named[field] = plain(value)
        else:
            named[field[0]] = field[1](value)
    if name != "block":
        named["values"] = [plain(value) for value in values]
    return named
