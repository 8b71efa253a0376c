"""CometBFT's home: configuration, genesis and keys, written from our own settings before each start.

Configuration is ours to write: what somebody changed in it by hand is replaced. Keys and the validator's last signed
state are made once and never replaced, since a validator that forgets what it signed can sign twice.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Final

from althing.consensus.abci import ValidatorUpdate
from althing.consensus.cometbft.address import SocketAddress, parse_signer_address
from althing.consensus.cometbft.instrumentation import HOST, NAMESPACE
from althing.consensus.cometbft.nodekey import node_id
from althing.consensus.cometbft.paths import CometHome
from althing.consensus.cometbft.rpc import BATCH_MAX
from althing.consensus.cometbft.rpcforms import timestamp_text
from althing.consensus.cometbft.settings import CometSettings
from althing.consensus.engine import EngineError, Genesis
from althing.consensus.solo.signer import ValidatorKey, load_or_create_key
from althing.protocol.block import validator_address
from althing.protocol.block.jsonform import json_of_params
from althing.service.durable import write_file

__all__ = ["moniker_of", "prepare_home"]

_KEY_FILE: Final = "priv_validator_key.json"
_PUBLIC_TYPE: Final = "tendermint/PubKeyEd25519"


def prepare_home(
    home: CometHome, genesis: Genesis, settings: CometSettings, abci: SocketAddress, rpc: SocketAddress
) -> ValidatorKey | None:
    """Write everything that `cometbft start` reads; the validator key it will sign with, None where another program signs."""
    key_file = (settings.key_file or home.path / _KEY_FILE).absolute()
    key = None
    if settings.signer_listen:
        _no_key_here(key_file)
    else:
        key = load_or_create_key(key_file)
        _sign_state(home)
    node_id(home.node_key_file)
    validators = genesis.validators or (() if key is None else (ValidatorUpdate(key.public, 10),))
    document = _genesis_document(genesis, validators)
    write_file(home.config_dir / "genesis.json", json.dumps(document).encode())
    text = _toml(_configuration(settings, genesis, abci, rpc, key_file, b"" if key is None else key.address))
    write_file(home.config_dir / "config.toml", text.encode())
    return key


def moniker_of(settings: CometSettings, validator: bytes) -> str:
    """What peers are told: the node's name, and the address of the validator key it holds. Claims, proved by nothing."""
    return f"{settings.moniker} {validator.hex()}" if settings.announce_validator and validator else settings.moniker


def _no_key_here(key_file: Path) -> None:
    """A key in two places signs twice as soon as somebody takes the setting away."""
    if key_file.exists():
        raise EngineError(
            "engine.key",
            f"signer_listen is set, and the validator key is still here: {key_file}",
            hint="move it to the signer with priv_validator_state.json, or remove the setting",
        )


def _sign_state(home: CometHome) -> None:
    if home.sign_state_file.exists():
        return
    if (home.data_dir / "blockstore.db").exists():
        raise EngineError(
            "engine.key",
            f"{home.sign_state_file} is missing: what this validator signed last is not known",
            hint="restore it from a backup, or join again with a new validator key",
        )
    write_file(home.sign_state_file, b'{"height": "0", "round": 0, "step": 0}\n')


def _genesis_document(genesis: Genesis, validators: tuple[ValidatorUpdate, ...]) -> dict[str, Any]:
    try:
        app_state = json.loads(genesis.app_state or b"null")
    except ValueError as error:
        raise EngineError("engine.settings", "CometBFT's app_state is JSON, and the genesis' is not") from error
    return {
        "genesis_time": timestamp_text(genesis.time),
        "chain_id": genesis.chain_id,
        "initial_height": str(genesis.initial_height),
        "consensus_params": json_of_params(genesis.consensus_params),
        "validators": [
            {
                "address": validator_address(validator.public_key).hex().upper(),
                "pub_key": {"type": _PUBLIC_TYPE, "value": base64.b64encode(validator.public_key).decode()},
                "power": str(validator.power),
                "name": "",
            }
            for validator in validators
        ],
        "app_hash": "",
        "app_state": app_state,
    }


def _configuration(
    settings: CometSettings,
    genesis: Genesis,
    abci: SocketAddress,
    rpc: SocketAddress,
    key_file: Path,
    validator: bytes,
) -> dict[str, Any]:
    """Every setting that is not CometBFT's default, and defaults that matter enough to be pinned."""
    pace = settings.pace
    return {
        "proxy_app": str(abci),
        "moniker": moniker_of(settings, validator),
        "db_backend": "goleveldb",
        "log_level": settings.log_level,
        "log_format": "json",
        "genesis_file": "config/genesis.json",
        **_signing(settings, key_file),
        "node_key_file": "config/node_key.json",
        "abci": "socket",
        "rpc": {
            "laddr": str(rpc),
            "unsafe": False,
            "pprof_laddr": "",
            "max_request_batch_size": BATCH_MAX + 1,
            # Base64 of one transaction, or of a batch that is cut where it reaches this size.
            "max_body_bytes": 2 * settings.tx_bytes_max + 4 * 1024 * 1024,
        },
        "p2p": {
            "laddr": settings.p2p_listen,
            "external_address": settings.external_address,
            "persistent_peers": ",".join(settings.persistent_peers),
            "addr_book_strict": False,  # plants use private addresses
            "allow_duplicate_ip": True,  # several nodes behind one address, or on one machine
            "flush_throttle_timeout": f"{pace.flush_ms}ms",
            "send_rate": pace.rate_bytes_s,
            "recv_rate": pace.rate_bytes_s,
            "persistent_peers_max_dial_period": "10s",
            "libp2p": {"enabled": False},
        },
        "mempool": {
            "type": "flood",
            "recheck": True,  # nothing else removes what expires while it waits
            "size": settings.pool_count_max,
            "max_txs_bytes": settings.pool_bytes_max,
            "cache_size": settings.seen_max,
            "max_tx_bytes": settings.tx_bytes_max,
        },
        "statesync": _state_sync(settings, genesis),
        "blocksync": {"version": "v0", "adaptive_sync": False},
        "consensus": {
            "timeout_propose": f"{pace.propose_ms}ms",
            "timeout_propose_delta": f"{pace.propose_ms // 2}ms",
            "timeout_prevote": f"{pace.vote_ms}ms",
            "timeout_prevote_delta": f"{pace.vote_ms // 2}ms",
            "timeout_precommit": f"{pace.vote_ms}ms",
            "timeout_precommit_delta": f"{pace.vote_ms // 2}ms",
            "timeout_commit": "0s",
            "skip_timeout_commit": True,
            "create_empty_blocks": False,
            "create_empty_blocks_interval": f"{settings.idle_block_s}s",
            "peer_gossip_sleep_duration": f"{pace.gossip_ms}ms",
        },
        "storage": {"discard_abci_responses": False},
        "tx_index": {"indexer": "null"},  # never pruned, and half the disk: our read models index
        # The port is given to each run (`instrumentation`).
        "instrumentation": {
            "prometheus": True,
            "prometheus_listen_addr": f"{HOST}:0",
            "max_open_connections": 2,
            "namespace": NAMESPACE,
        },
    }


def _signing(settings: CometSettings, key_file: Path) -> dict[str, str]:
    if settings.signer_listen:
        # CometBFT makes a key in any case, and signs nothing with it.
        own = {"priv_validator_key_file": "data/unused_key.json", "priv_validator_state_file": "data/unused_state.json"}
        return own | {"priv_validator_laddr": str(parse_signer_address(settings.signer_listen))}
    return {
        "priv_validator_key_file": str(key_file),
        "priv_validator_state_file": "data/priv_validator_state.json",
        "priv_validator_laddr": "",
    }


def _state_sync(settings: CometSettings, genesis: Genesis) -> dict[str, Any]:
    """CometBFT passes it over by itself once it has blocks."""
    chosen = settings.state_sync
    if chosen is None:
        return {"enable": False}
    return {
        "enable": True,
        "rpc_servers": ",".join(chosen.servers),
        "trust_height": chosen.trust_height,
        "trust_hash": chosen.trust_hash.hex(),
        # Who signed a lie can be held to it for so long.
        "trust_period": f"{genesis.consensus_params.evidence_age_ns_max // 1_000_000_000}s",
        "discovery_time": "5s",
        "chunk_request_timeout": "10s",
        "chunk_fetchers": 4,
        "max_snapshot_chunks": 65_536,
    }


def _toml(table: dict[str, Any], prefix: str = "") -> str:
    """TOML of nested tables of text, numbers and truth values; JSON's text is TOML's basic string."""
    plain = [f"{key} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, dict)]
    text = "\n".join(plain) + "\n"
    for key, value in table.items():
        if isinstance(value, dict):
            text += f"\n[{prefix}{key}]\n" + _toml(value, f"{prefix}{key}.")
    return text
