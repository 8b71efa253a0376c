"""The peers an engine tells of: read strictly, remembered for a while, bounded."""

from __future__ import annotations

from typing import Any

from althing.consensus.cometbft.peerbook import GONE_MAX, GONE_NS, PeerBook, heights_of

NOW = 1_700_000_000_000_000_000


def answer(*ids: str, name: str = "acme-node-1") -> dict[str, Any]:
    """As CometBFT's net_info has it, cut to what is read."""
    return {
        "peers": [
            {
                "node_info": {"id": own, "version": "0.39.4", "moniker": name},
                "is_outbound": True,
                "connection_status": {
                    "Duration": "9000000000",
                    "SendMonitor": {"Bytes": "12", "Idle": "5"},
                    "RecvMonitor": {"Bytes": "34", "Idle": "2000000000"},
                },
                "remote_ip": "127.0.1.2",
            }
            for own in ids
        ]
    }


def test_a_peer_is_kept_when_it_goes_and_known_again_when_it_comes() -> None:
    now = NOW
    book = PeerBook(clock=lambda: now)
    book.told(answer("aa"))
    book.told_heights(heights_of({"peers": [{"node_address": "AA@1.2.3.4:5", "peer_state": _at(8)}]}))
    book.told(answer("aa"))
    (peer,) = book.peers()
    assert (peer.connected, peer.outbound, peer.height, peer.bytes_received) == (True, True, 7, 34)
    assert (peer.connected_at_ns, peer.seen_at_ns) == (NOW - 9_000_000_000, NOW - 2_000_000_000)
    now += 60_000_000_000
    book.told(answer())
    (gone,) = book.peers()
    assert (gone.connected, gone.height, gone.seen_at_ns) == (False, 7, NOW - 2_000_000_000)
    book.told(answer("aa"))
    assert book.peers()[0].connected
    book.told(None)  # the engine is away: so is everybody
    assert not book.peers()[0].connected
    now += GONE_NS + 1
    book.told(answer())
    assert book.peers() == ()


def test_an_expected_peer_is_shown_before_it_was_ever_seen_and_never_forgotten() -> None:
    now = NOW
    book = PeerBook(["BB@10.0.0.1:26656"], clock=lambda: now)
    book.told(answer("aa"))
    assert [(peer.id, peer.connected, peer.seen_at_ns) for peer in book.peers()] == [
        ("aa", True, NOW - 2_000_000_000),
        ("bb", False, None),
    ]
    now += 2 * GONE_NS
    book.told(answer())
    assert [peer.id for peer in book.peers()] == ["bb"]


def test_who_changes_ids_cannot_fill_memory_and_names_are_cut() -> None:
    now = NOW
    book = PeerBook(["ff@10.0.0.1:26656"], clock=lambda: now)
    for number in range(3 * GONE_MAX):
        now += 1_000_000_000
        book.told(answer(f"{number:08d}", name="x\n\x1b[31m" + "y" * 1000))
    peers = book.peers()
    assert len(peers) == GONE_MAX + 1  # and the one that is connected
    assert {"ff", f"{3 * GONE_MAX - 1:08d}", f"{3 * GONE_MAX - 2:08d}"} <= {peer.id for peer in peers}
    assert peers[0].name == ("x[31m" + "y" * 1000)[:128]


def test_a_height_not_told_yet_is_unknown() -> None:
    assert heights_of({"peers": [{"node_address": "aa@h:1", "peer_state": _at(0)}]}) == {}
    assert heights_of({"peers": None}) == {}


def _at(height: int) -> dict[str, Any]:
    return {"round_state": {"height": str(height)}}
