"""Receipts and results of bundles (docs/spec/transactions.md §6)."""

from __future__ import annotations

from typing import Any

from althing.protocol.block import TxResult
from althing.protocol.errors import EncodingError
from althing.protocol.receipt import Receipt, receipts_root


def check(case: dict[str, Any]) -> None:
    if "receipts" in case:
        root = receipts_root([bytes.fromhex(receipt) for receipt in case["receipts"]])
        assert root.hex() == case["root"]
        assert TxResult(0, root, case["gas_wanted"], case["gas_used"]).encode().hex() == case["exec_tx_result"]
        return
    data, code = bytes.fromhex(case["receipt"]), None
    try:
        receipt = Receipt.from_bytes(data)
    except EncodingError as exc:
        code = exc.code
    assert code == case.get("error"), code or "accepted"
    if code is None:
        assert receipt.to_bytes() == data
        assert (receipt.tx_id.hex(), receipt.code, receipt.gas_used) == (case["tx_id"], case["code"], case["gas_used"])
        assert [event.name for event in receipt.events] == case["events"]
        assert receipt.ok == (case["code"] == "")
