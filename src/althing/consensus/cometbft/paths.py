"""Where CometBFT's home keeps what, and who holds it. Readable without the engine being installed."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from althing.consensus.engine import EngineError
from althing.service.durable import make_folders, write_file

__all__ = ["CometHome", "lock_directory", "unlock_directory"]


@dataclass(frozen=True, slots=True)
class CometHome:
    """Paths below the engine's directory."""

    path: Path

    @property
    def config_dir(self) -> Path:
        return self.path / "config"

    @property
    def data_dir(self) -> Path:
        return self.path / "data"

    @property
    def headers_dir(self) -> Path:
        return self.path / "headers"

    @property
    def node_key_file(self) -> Path:
        return self.config_dir / "node_key.json"

    @property
    def sign_state_file(self) -> Path:
        return self.data_dir / "priv_validator_state.json"

    @property
    def pid_file(self) -> Path:
        """Of the process that runs here, for who must hold it still; true only while the directory is locked."""
        return self.path / "engine.pid"

    def claim(self, fingerprint: bytes, chain_id: str) -> None:
        """Bind a new directory to a chain; refuse the blocks of another one (`engine.foreign_chain`)."""
        make_folders(self.config_dir, mode=0o700)
        make_folders(self.data_dir, mode=0o700)
        identity = self.path / "chain"
        known = identity.read_bytes() if identity.exists() else None
        if known is None:
            write_file(identity, fingerprint)
        elif known != fingerprint:
            raise EngineError(
                "engine.foreign_chain",
                f"the stored blocks belong to another chain than {chain_id!r} as this genesis defines it",
                hint="use another directory, or the genesis this chain was started with",
            )


def lock_directory(directory: Path) -> int:
    """Hold the engine's directory for this process, or EngineError `engine.locked`; the handle to release it with."""
    handle = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise EngineError(
            "engine.locked", f"another process uses {directory}", hint="stop it, or use another directory"
        ) from error
    return handle


def unlock_directory(handle: int) -> None:
    """Release it."""
    os.close(handle)
