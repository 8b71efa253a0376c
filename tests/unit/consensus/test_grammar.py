from __future__ import annotations

import pytest

from althing.consensus.grammar import Call, IllegalCallError, check_trace


def calls(text: str) -> list[Call]:
    """`finalize_block:3 commit` …; blocks get a hash."""
    found = []
    for word in text.split():
        method, _, height = word.partition(":")
        found.append(Call(method, int(height or 0), b"h" if method in ("process_proposal", "finalize_block") else b""))
    return found


LEGAL = {
    "crash before anything": "",
    "clean start, usual heights": "info:0 init_chain prepare_proposal:1 process_proposal:1 finalize_block:1 commit "
    "prepare_proposal:2 process_proposal:2 finalize_block:2 commit",
    "several rounds, repeated prepare, votes": "info:0 init_chain prepare_proposal:1 prepare_proposal:1 "
    "process_proposal:1 extend_vote:1 verify_vote_extension:1 process_proposal:1 finalize_block:1 commit",
    "process never called": "info:4 prepare_proposal:5 finalize_block:5 commit",
    "catch-up by finalize alone": "info:0 init_chain finalize_block:1 commit finalize_block:2 commit",
    "recovery, crash after finalize": "info:7 finalize_block:8",
    "state sync": "offer_snapshot:9 offer_snapshot:9 apply_chunk apply_chunk offer_snapshot:8 apply_chunk info:8 "
    "finalize_block:9 commit",
    "calls that come at any time": "query check_tx info:4 check_tx query finalize_block:5 check_tx info:4 commit info:5",
}
ILLEGAL = {
    "no handshake": "init_chain",
    "consensus before the handshake": "finalize_block:1",
    "init_chain with state": "info:3 init_chain",
    "no init_chain without state": "info:0 finalize_block:1",
    "init_chain twice": "info:0 init_chain init_chain",
    "commit before finalize": "info:3 commit",
    "finalize twice": "info:3 finalize_block:4 finalize_block:4",
    "proposal between finalize and commit": "info:3 finalize_block:4 prepare_proposal:5",
    "commit twice": "info:3 finalize_block:4 commit commit",
    "height skipped": "info:3 finalize_block:5",
    "height repeated": "info:3 finalize_block:4 commit finalize_block:4",
    "process for another height": "info:3 process_proposal:5",
    "chunk without offer": "apply_chunk",
    "info between offer and chunk": "offer_snapshot:3 info:3",
    "nothing restored": "offer_snapshot:3 apply_chunk info:0",
    "snapshot while running": "info:3 offer_snapshot:9",
    "unknown": "info:3 deliver_tx",
}


@pytest.mark.parametrize("text", LEGAL.values(), ids=LEGAL.keys())
def test_legal(text: str) -> None:
    check_trace(calls(text))


@pytest.mark.parametrize("text", ILLEGAL.values(), ids=ILLEGAL.keys())
def test_illegal(text: str) -> None:
    with pytest.raises(IllegalCallError):
        check_trace(calls(text))


def test_initial_height() -> None:
    check_trace(calls("info:0 init_chain finalize_block:100 commit finalize_block:101 commit"), initial_height=100)


def test_finalize_names_its_block() -> None:
    with pytest.raises(IllegalCallError):
        check_trace([Call("info", 3), Call("finalize_block", 4, b"")])
