"""Governance decisions as people write them: a JSON list of objects, `type` and the message's fields by name.

Bytes are an address (al1…) or hexadecimal, enumerations their names. docs/operate/governance.md has an example of each.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

from althing.client.errors import ClientError
from althing.protocol.address import parse_address
from althing.protocol.catalog import MessageBody
from althing.protocol.errors import AlthingError
from althing.protocol.hashing import sha256
from althing.protocol.messages.governance import MESSAGES, Parameters, SetParameters
from althing.protocol.messages.staking import SetStaking, StakingParameters
from althing.protocol.signatures import Suite

__all__ = ["read_decisions"]

_TYPES: dict[str, type[MessageBody]] = {kind.TYPE: kind for kind in (*MESSAGES, SetStaking)}
# Of these only what changes is named.
_REPLACED = {SetParameters: Parameters, SetStaking: StakingParameters}
_SUITES = {"Ed25519": Suite.ED25519, "ES256": Suite.ES256}


def read_decisions(path: Path, present_of: Callable[[type], Any]) -> list[MessageBody]:
    """The messages of a file, or ClientError `cli.decisions`.

    `governance.set_parameters` and `staking.set_parameters` name only what changes: the rest, and what they replace, is what
    `present_of(Parameters)` or `present_of(StakingParameters)` gives.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _refuse(f"{path} cannot be read as JSON") from error
    if not isinstance(document, list):
        raise _refuse("a list of decisions is expected")
    return [_decision(entry, present_of) for entry in document]


def _decision(entry: Any, present_of: Callable[[type], Any]) -> MessageBody:
    if not isinstance(entry, dict) or entry.get("type") not in _TYPES:
        raise _refuse(f"each has a type of: {', '.join(sorted(_TYPES))}")
    given = {name: value for name, value in entry.items() if name != "type"}
    cls = _TYPES[entry["type"]]
    kind = _REPLACED.get(cls)
    if kind is not None and "parameters" not in given:
        present = present_of(kind)
        hints = typing.get_type_hints(kind)
        if unknown := given.keys() - hints.keys():
            raise _refuse(f"there are no parameters {sorted(unknown)}")
        changed = {name: _value(hints[name], value, name) for name, value in given.items()}
        made: Any = typing.cast(Any, cls)(sha256(present.to_bytes()), replace(present, **changed))
    else:
        made = _record(cls, given, cls.TYPE)
    try:
        made.to_item()
    except AlthingError as error:
        raise _refuse(error.message) from error
    return typing.cast("MessageBody", made)


def _record(cls: type, given: Any, where: str) -> Any:
    if not isinstance(given, dict):
        raise _refuse(f"{where} is an object")
    hints = typing.get_type_hints(cls)
    names = [field.name for field in fields(cls)]
    if unknown := given.keys() - set(names):
        raise _refuse(f"{where} has no {sorted(unknown)}")
    values = []
    for name in names:
        optional = type(None) in typing.get_args(hints[name])
        if name not in given and not optional:
            raise _refuse(f"{where} lacks {name}")
        values.append(_value(hints[name], given.get(name), f"{where}.{name}"))
    return cls(*values)


def _value(kind: Any, given: Any, where: str) -> Any:
    if isinstance(kind, types.UnionType):
        if given is None:
            return None
        kind = next(member for member in typing.get_args(kind) if member is not type(None))
    try:
        if typing.get_origin(kind) is tuple:
            return tuple(_value(typing.get_args(kind)[0], one, where) for one in given)
        if kind is bytes:
            return parse_address(given) if given.startswith("al1") else bytes.fromhex(given)
        if kind is Suite:
            return _SUITES[given]
        if isinstance(kind, type) and issubclass(kind, IntEnum):
            return kind[given.upper()]
    except (AlthingError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise _refuse(f"{where} is not of its form: {given!r}") from error
    return _record(kind, given, where) if is_dataclass(kind) and isinstance(kind, type) else given


def _refuse(message: str) -> ClientError:
    return ClientError("cli.decisions", message, hint="docs/operate/governance.md has an example of each")
