"""The catalogue of message types: one line a module, names `<module>.<verb>` in the order of docs/spec/messages.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, Protocol, Self

from althing.protocol.codec import Item
from althing.protocol.errors import EncodingError
from althing.protocol.messages import assets, devices, governance, identity, proposals, staking, streams

__all__ = ["MESSAGE_TYPES", "MessageBody", "body_from_item", "body_to_item"]


class MessageBody(Protocol):
    """A message of a transaction: a record with a type name."""

    TYPE: ClassVar[str]

    def to_item(self) -> Item: ...

    @classmethod
    def from_item(cls, item: Item) -> Self: ...


MESSAGE_TYPES: Final[dict[str, type[MessageBody]]] = {
    body.TYPE: body
    for module in (governance, proposals, identity, devices, streams, assets, staking)
    for body in module.MESSAGES
}


def body_to_item(body: MessageBody) -> Item:
    """[type, fields]."""
    return [body.TYPE, body.to_item()]


def body_from_item(item: Item, types: Mapping[str, type[MessageBody]] = MESSAGE_TYPES) -> MessageBody:
    """The message of [type, fields], or EncodingError `tx.message_*`. `types` are those of the rules in force."""
    match item:
        case [str() as name, list() as fields]:
            body = types.get(name)
        case _:
            raise EncodingError("tx.message_form", "a message is [type, fields]")
    if body is None:
        raise EncodingError(
            "tx.message_type", "the message's type is not known here", hint="upgrade, or check the name"
        )
    return body.from_item(fields)
