"""What a home to join with is made of, and what is refused before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from althing.node.config import read_config
from althing.node.home import HomeError
from althing.node.joining import join_home
from althing.protocol.block import Validator, ValidatorSet
from althing.protocol.genesis import genesis_hash
from althing.protocol.trust import Trust, format_trust
from althing.testing.harness import LedgerHarness

CHAIN = LedgerHarness()
GENESIS = CHAIN.genesis.to_bytes()
PEER = "a" * 40 + "@10.0.0.1:26656"


def trust_of(digest: bytes) -> bytes:
    validators = ValidatorSet.of([Validator(CHAIN.validator.public, 10)])
    return format_trust(Trust("test", digest, 7, bytes(32), validators)).encode()


TRUST = trust_of(genesis_hash(CHAIN.genesis))


def test_a_home_has_the_chain_s_genesis_and_keys_of_its_own(tmp_path: Path) -> None:
    servers = ["https://a.example:8420", "https://b.example:8420"]
    first = join_home(tmp_path / "one", genesis=GENESIS, peers=[PEER], trust=TRUST, state_sync=servers)
    second = join_home(tmp_path / "two", genesis=GENESIS, peers=[PEER], trust=None, p2p_listen="tcp://0.0.0.0:26656")
    assert genesis_hash(first.home.genesis()) == genesis_hash(CHAIN.genesis)
    assert first.home.trust().height == 7
    assert len({first.peer_id, second.peer_id}) == 2
    assert first.validator_public != second.validator_public
    assert first.node_public == first.home.node_key().public
    for made in (first, second):
        assert made.home.node_key_file.stat().st_mode & 0o077 == 0
        assert made.home.validator_key_file.stat().st_mode & 0o077 == 0
    config = read_config(tmp_path / "one").cometbft
    assert (config.peers, config.state_sync) == ((PEER,), tuple(servers))
    assert read_config(tmp_path / "one").engine == "cometbft"
    assert read_config(tmp_path / "two").cometbft.p2p_listen == "tcp://0.0.0.0:26656"
    with pytest.raises(HomeError) as error:
        join_home(tmp_path / "one", genesis=GENESIS, peers=[PEER], trust=None)
    assert error.value.code == "home.exists"
    with pytest.raises(HomeError) as error:
        second.home.trust()
    assert error.value.code == "home.no_trust"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"genesis": b"{}"}, "home.genesis"),
        ({"genesis": bytes(17 * 1024 * 1024)}, "home.genesis"),
        ({"peers": []}, "home.peers"),
        ({"peers": ["10.0.0.1:26656"]}, "home.peers"),
        ({"peers": ["x" * 40 + "@10.0.0.1:26656"]}, "home.peers"),
        ({"peers": ["a" * 40 + "@10.0.0.1"]}, "home.peers"),
        ({"trust": None, "state_sync": ["http://a", "http://b"]}, "home.no_trust"),
        ({"trust": trust_of(bytes(32))}, "home.foreign_trust"),
    ],
)
def test_what_cannot_be_joined_is_refused(tmp_path: Path, changes: dict[str, Any], code: str) -> None:
    arguments: dict[str, Any] = {"genesis": GENESIS, "peers": [PEER], "trust": TRUST}
    with pytest.raises(HomeError) as error:
        join_home(tmp_path / "home", **{**arguments, **changes})
    assert error.value.code == code
    assert not (tmp_path / "home").exists()
