"""Settings of the engine CometBFT, each with the reason for its value; a profile sets those that belong together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from althing.consensus.engine import EngineError

__all__ = ["PROFILES", "CometSettings", "Profile", "StateSync"]


@dataclass(frozen=True, slots=True)
class Profile:
    """Times in milliseconds, rates in bytes a second. Commits are never delayed: `skip_timeout_commit` everywhere."""

    propose_ms: int  # waited for a proposal before a vote for nil; the next round waits half as much longer
    vote_ms: int  # waited for the last votes once two thirds have voted for different things
    gossip_ms: int  # pause between looks at what a peer lacks
    flush_ms: int  # messages of so long share a packet
    rate_bytes_s: int  # per connection, each way


PROFILES: Final[dict[str, Profile]] = {
    # One site: a missing proposer costs two seconds, gossip is immediate.
    "lan": Profile(propose_ms=2_000, vote_ms=500, gossip_ms=10, flush_ms=10, rate_bytes_s=100_000_000),
    # Across countries: 300 ms away and lossy must not look like a fault.
    "wan": Profile(propose_ms=3_000, vote_ms=1_000, gossip_ms=50, flush_ms=10, rate_bytes_s=20_000_000),
    # Batteries and metered links: fewer wake-ups and packets, for latency.
    "eco": Profile(propose_ms=5_000, vote_ms=2_000, gossip_ms=250, flush_ms=100, rate_bytes_s=5_000_000),
}


_SERVERS_MIN: Final = 2  # CometBFT's own rule: one alone could lie


@dataclass(frozen=True, slots=True)
class StateSync:
    """Two or more nodes whose headers are compared, and the header that is trusted to begin with."""

    servers: tuple[str, ...]
    trust_height: int
    trust_hash: bytes
    ca: Path | None = None  # certificates to trust in https:// servers, instead of the system's

    def __post_init__(self) -> None:
        if len(self.servers) < _SERVERS_MIN or not all(s.startswith(("http://", "https://")) for s in self.servers):
            raise EngineError(
                "engine.settings", "state sync needs the addresses of two nodes or more, each http:// or https://"
            )
        if self.ca is not None and not self.ca.is_file():
            raise EngineError("engine.settings", f"state_sync_ca names a file that is not there: {self.ca}")


@dataclass(frozen=True, slots=True)
class CometSettings:
    """Where it keeps its data, how it reaches its peers, and its pace. Block size and gas are consensus parameters."""

    directory: Path
    binary: Path | None = None  # default: found as `binary.find_binary` says
    key_file: Path | None = None  # default: priv_validator_key.json in the directory
    moniker: str = "althing"
    announce_validator: bool = True  # with the moniker, the address of the validator key: peers show who is who
    profile: str = "lan"
    p2p_listen: str = "tcp://127.0.0.1:0"  # port 0: any; fine for one validator, which nobody dials
    external_address: str = ""  # host:port that peers dial when it is not the one listened on
    persistent_peers: tuple[str, ...] = ()  # <node id>@host:port, redialled for ever
    state_sync: StateSync | None = None  # where a node without blocks takes the state from
    signer_listen: str = ""  # where a remote signer connects; "": this process' key file signs
    abci_listen: str = ""  # default: a Unix socket in the directory
    idle_block_s: int = 30  # block time is the previous block's vote time: an idle chain's clock lags by at most this
    pool_count_max: int = 20_000
    pool_bytes_max: int = 64 * 1024 * 1024  # memory of a small edge box
    tx_bytes_max: int = 4 * 1024 * 1024  # a bundle; five fit the default block
    seen_max: int = 100_000  # hashes of recent transactions: a duplicate is refused without checking it
    retry_ms: int = 500  # pause before a failed durable write is tried again
    start_s: int = 60  # for the handshake; a replay of many blocks makes progress and is waited for
    restarts_max: int = 5  # in a row without a new block; then something is wrong that a restart does not mend
    trace_file: Path | None = None  # every ABCI call, for the grammar's judgement
    log_level: str = "p2p:info,*:error"  # p2p's information tells of peers of another chain

    def __post_init__(self) -> None:
        bounds = {
            "idle_block_s": (1, 60),
            "pool_count_max": (1, 10_000_000),
            "pool_bytes_max": (1, 1 << 40),
            "tx_bytes_max": (1, 100 * 1024 * 1024),
            "seen_max": (1, 100_000_000),
            "retry_ms": (1, 60_000),
            "start_s": (1, 3_600),
            "restarts_max": (0, 1_000),
        }
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise EngineError("engine.settings", f"{name} must be between {low} and {high}")
        if self.profile not in PROFILES:
            raise EngineError(
                "engine.settings", f"{self.profile!r} is no profile", hint=f"one of {', '.join(PROFILES)}"
            )

    @property
    def pace(self) -> Profile:
        """The profile's values."""
        return PROFILES[self.profile]
