"""Genesis records, hashes and app_state (docs/spec/genesis.md)."""

from __future__ import annotations

from typing import Any

from althing.protocol.errors import EncodingError
from althing.protocol.genesis import app_state_of, genesis_hash, genesis_of_app_state


def check(case: dict[str, Any]) -> None:
    state, code = case["app_state"].encode(), None
    try:
        genesis = genesis_of_app_state(state)
    except EncodingError as exc:
        code = exc.code
    assert code == case.get("error"), code or "accepted"
    if code is None:
        assert genesis.to_bytes().hex() == case["genesis"]
        assert genesis_hash(genesis).hex() == case["hash"]
        assert app_state_of(genesis) == state
        assert (genesis.chain_id, genesis.time) == (case["chain_id"], case["time"])
        assert [organisation.name for organisation in genesis.organisations] == case["organisations"]
        assert [organisation.address.hex() for organisation in genesis.organisations] == case["addresses"]
        assert [[v.public.hex(), v.power] for v in genesis.validators] == case["validators"]
