"""The page on profiles says what the engine is given, and what CometBFT would take by itself."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from althing.consensus.cometbft.home import prepare_home
from althing.consensus.cometbft.paths import CometHome
from althing.consensus.cometbft.settings import PROFILES, CometSettings

from .test_cometbft_home import ABCI, GENESIS, RPC

PAGE = "docs/operate/profiles.md"


def configuration(folder: Path, profile: str) -> dict[str, Any]:
    home = CometHome(folder)
    home.claim(GENESIS.fingerprint(), GENESIS.chain_id)
    prepare_home(home, GENESIS, CometSettings(folder, profile=profile), ABCI, RPC)
    return tomllib.loads((home.config_dir / "config.toml").read_text())


def rows(root: Path) -> list[list[str]]:
    """The cells of every table row of the page."""
    lines = (root / PAGE).read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]


def told(value: Any) -> str:
    """A setting as the page writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value >= 1_000_000:
        return f"{value // 1_000_000} MB/s"
    return re.sub(r"^(\d+)ms$", r"\1 ms", str(value))


@pytest.mark.parametrize("profile", PROFILES)
def test_each_value_of_a_profile(tmp_path: Path, root: Path, profile: str) -> None:
    config = configuration(tmp_path, profile)
    settings = {**config["p2p"], **config["consensus"]}
    table = rows(root)
    column = next(row for row in table if "`lan`" in row).index(f"`{profile}`")
    seen = set()
    for row in table:
        for name in re.findall(r"`(\w+)`", row[0]):
            if name in settings and len(row) == 5:
                assert row[column] == told(settings[name]), (profile, name)
                seen.add(name)
    assert seen == {
        "timeout_propose", "timeout_prevote", "timeout_precommit", "peer_gossip_sleep_duration",
        "flush_throttle_timeout", "send_rate", "recv_rate",
    }  # fmt: skip
    assert settings["timeout_propose_delta"] == f"{PROFILES[profile].propose_ms // 2}ms"  # "half as much longer"


@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_the_same_in_all_of_them(tmp_path: Path, root: Path, profile: str) -> None:
    config = configuration(tmp_path, profile)
    flat = {**config["consensus"], **{f"mempool.{k}": v for k, v in config["mempool"].items()}}
    flat |= {"cache_size": config["mempool"]["cache_size"], "tx_index.indexer": config["tx_index"]["indexer"]}
    seen = set()
    for row in rows(root):
        names = re.findall(r"`([\w.]+)`", row[0])
        if len(row) != 3 or not names or any(name not in flat for name in names):
            continue
        values = re.sub(r"`\w+`, ", "", row[1]).split(", ")
        assert values == [told(flat[name]) for name in names], names
        seen |= set(names)
    assert len(seen) == 8
