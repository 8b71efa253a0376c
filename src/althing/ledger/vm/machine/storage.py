"""State fields in bytes: their keys, and reading and writing them for what it costs."""

from __future__ import annotations

from althing.ledger.vm.errors import Raised
from althing.ledger.vm.host import PRICES
from althing.ledger.vm.ir import Field
from althing.ledger.vm.limits import KEY_BYTES_MAX, STORED_BYTES_MAX
from althing.ledger.vm.machine.frames import Frame, Instance
from althing.ledger.vm.typed import initial, loaded, stored
from althing.ledger.vm.values import INDEX_ERROR, KEY_ERROR, Value, kind_name, type_error

__all__ = [
    "get",
    "get_item",
    "length",
    "list_key",
    "list_place",
    "map_key",
    "put",
    "read",
    "size_bytes",
    "state_key",
    "writable",
    "write",
]


def state_key(number: int) -> bytes:
    return number.to_bytes(1, "big")


def list_key(number: int, place: int) -> bytes:
    return state_key(number) + place.to_bytes(8, "big")


def map_key(frame: Frame, number: int, field: Field, index: Value) -> bytes:
    records = frame[1].records
    return state_key(number) + stored(index, field.types[0], records, frame[0], KEY_BYTES_MAX)


def list_place(frame: Frame, number: int, index: Value) -> int:
    if type(index) is not int:
        raise type_error(f"an index is an int, not a {kind_name(index)}")
    size = length(frame, number)
    place = index + size if index < 0 else index
    if not 0 <= place < size:
        raise Raised(INDEX_ERROR, f"index {index} is outside of {size} items")
    return place


def length(frame: Frame, number: int) -> int:
    data = read(frame, state_key(number))
    return 0 if data is None else int.from_bytes(data, "big")


def size_bytes(size: int) -> bytes:
    return size.to_bytes(8, "big")


def read(frame: Frame, key_: bytes) -> bytes | None:
    meter = frame[0]
    meter.charge(PRICES.READ)
    data: bytes | None = frame[1].host.get(key_)
    if data is not None:
        meter.charge(PRICES.READ_BYTE * len(data))
    return data


def get(frame: Frame, field: Field, which: int, key_: bytes, name: str) -> Value:
    """A state field's value, or its type's nothing."""
    data = read(frame, key_)
    if data is None:
        return initial(field.types[which], name)
    return loaded(data, field.types[which], frame[1].records, frame[0])


def get_item(frame: Frame, field: Field, which: int, key_: bytes, index: Value) -> Value:
    data = read(frame, key_)
    if data is None:
        shown = index if type(index) in (str, int, bool) else kind_name(index)
        raise Raised(KEY_ERROR, f"{field.name} has no {str(shown)[:64]}")
    return loaded(data, field.types[which], frame[1].records, frame[0])


def put(frame: Frame, field: Field, which: int, key_: bytes, value: Value) -> None:
    data = stored(value, field.types[which], frame[1].records, frame[0], STORED_BYTES_MAX)
    write(frame, key_, data)


def write(frame: Frame, key_: bytes, data: bytes) -> None:
    writable(frame[1], "writes nothing")
    frame[0].charge(PRICES.WRITE + PRICES.WRITE_BYTE * (len(key_) + len(data)))
    frame[1].host.put(key_, data)


def writable(instance: Instance, what: str) -> None:
    if not instance.writable:
        raise type_error(f"a view {what}")
