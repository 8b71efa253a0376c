"""Receipts, their root, and the result of a bundle as the engine hashes it (docs/spec/transactions.md §6)."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from generators.merkle import mth

from althing.protocol.codec import encode
from althing.protocol.receipt import Event, Receipt

Case = dict[str, Any]


def document() -> Case:
    ids = [sha256(b"tx %d" % number).digest() for number in range(3)]
    address = bytes(range(20))
    receipts = [
        Receipt(1, ids[0], "", 1234, (Event("devices.registered", ("pump-7", address, bytes(20), True)),)),
        Receipt(1, ids[1], "tx.expired", 0, ()),
        Receipt(1, ids[2], "", 5000, (Event("streams.updated", (3, 1)), Event("devices.gateway", ("pump-7", None)))),
    ]
    encoded = [receipt.to_bytes() for receipt in receipts]
    cases: list[Case] = [
        {
            "name": f"receipt: {name}",
            "tx_id": receipt.tx_id.hex(),
            "code": receipt.code,
            "gas_used": receipt.gas_used,
            "events": [event.name for event in receipt.events],
            "receipt": data.hex(),
        }
        for name, receipt, data in zip(("success", "refused", "two events"), receipts, encoded, strict=True)
    ]
    for count in (1, 2, 3):
        cases.append(
            {
                "name": f"bundle of {count}",
                "receipts": [data.hex() for data in encoded[:count]],
                "root": mth(encoded[:count]).hex(),
                "gas_wanted": 100_000 * count,
                "gas_used": sum(receipt.gas_used for receipt in receipts[:count]),
                "exec_tx_result": _result(mth(encoded[:count]), 100_000 * count, receipts[:count]),
            }
        )
    good: Any = receipts[0].to_item()
    for name, item, error in (
        ("version 2", [2, *good[1:]], "record.field"),
        ("id of 31 bytes", [1, good[1][:31], *good[2:]], "record.field"),
        ("code of 65 characters", [*good[:2], "a" * 65, *good[3:]], "record.field"),
        ("four fields", good[:4], "record.form"),
        ("an event's value is an array", [*good[:4], [["a.b", [[1]]]]], "record.field"),
        ("an event of three parts", [*good[:4], [["a.b", [], 0]]], "record.form"),
        ("17 values", [*good[:4], [["a.b", [0] * 17]]], "record.field"),
    ):
        cases.append({"name": f"receipt refused: {name}", "receipt": encode(item).hex(), "error": error})
    return {
        "suite": "receipts",
        "spec": "docs/spec/transactions.md",
        "description": (
            "Receipts, and for bundles of them the root and the ExecTxResult (protobuf: code 0 left out, data, gas_wanted, "
            "gas_used) that last_results_hash of the next header covers."
        ),
        "cases": cases,
    }


def _varint(number: int) -> str:
    out = []
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number]).hex()


def _result(root: bytes, wanted: int, receipts: list[Receipt]) -> str:
    return "1220" + root.hex() + "28" + _varint(wanted) + "30" + _varint(sum(receipt.gas_used for receipt in receipts))
