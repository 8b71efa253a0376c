"""What CometBFT's own program does on a home whose node is stopped: show its stores, and take its state back by heights.

The stores are in CometBFT's formats, so its program opens them: `inspect` serves the RPC's reading half without running a
node, `rollback` undoes a height. Both hold the directory, as a running node would.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from althing.consensus.abci import Misbehavior
from althing.consensus.cometbft.binary import find_binary
from althing.consensus.cometbft.evidence import misbehavior_of
from althing.consensus.cometbft.paths import CometHome, lock_directory, unlock_directory
from althing.consensus.cometbft.process import explain
from althing.consensus.cometbft.rpc import Rpc, RpcError
from althing.consensus.cometbft.rpcforms import block_of
from althing.consensus.cometbft.sockets import SocketFolder
from althing.consensus.engine import EngineError
from althing.protocol.block import Block
from althing.protocol.errors import UnavailableError

__all__ = ["StoppedBlocks", "inspected", "roll_engine_back"]

_UP_S: Final = 60.0
_POLL_S: Final = 0.05
_STOP_S: Final = 15.0
_ROLLBACK_S: Final = 120.0
_LINES: Final = 40
_ROLLED: Final = re.compile(r"to height (\d+) and hash ([0-9A-Fa-f]*)")


class StoppedBlocks:
    """Blocks of a stopped home, by CometBFT's `inspect`. `base_height` 0: there is none."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self.latest_height = self.base_height = 0
        try:
            self.latest_height = int(rpc.call("blockchain")["last_height"])
        except RpcError:
            return  # an empty store has no range to show
        self.base_height = self._base()

    def block(self, height: int) -> Block:
        """The block of a height; EngineError `engine.unknown_height`, `engine.store`."""
        try:
            answer = self._rpc.call("block", height=str(height))
        except RpcError as error:
            raise EngineError("engine.unknown_height", f"block {height} is not stored in this home") from error
        return block_of(answer)

    def misbehavior(self, block: Block) -> tuple[Misbehavior, ...]:
        """What the application was told with a block."""
        return tuple(one for evidence in block.evidence for one in misbehavior_of(evidence))

    def _base(self) -> int:
        """The lowest height stored: asked for a lower one, the program names it."""
        try:
            self._rpc.call("block", height="1")
        except RpcError as error:
            lowest = re.search(r"lowest height is (\d+)", error.data)
            if lowest is None:
                raise
            return int(lowest.group(1))
        return 1


@contextmanager
def inspected(directory: Path, binary: Path | None = None) -> Iterator[StoppedBlocks]:
    """The blocks below an engine's directory, while CometBFT shows them. EngineError `engine.locked`, `engine.binary`, …"""
    program = find_binary(binary)
    lock = lock_directory(directory)
    try:
        sockets = SocketFolder(directory)
        address = sockets.address("inspect")
        address.remove()
        try:
            # The last lines say why it ended; they go to a file, since nobody reads a pipe meanwhile.
            log = CometHome(directory).data_dir / "inspect.log"
            with log.open("w+b") as said:
                process = subprocess.Popen(  # noqa: S603 -- the operator's program
                    [program, "inspect", "--home", str(directory.absolute()), "--rpc.laddr", str(address)],
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    env=_environment(),
                    start_new_session=True,
                )
                rpc = Rpc(address)
                try:
                    yield _shown(process, rpc, log)
                finally:
                    rpc.close()
                    _end(process)
            log.unlink(missing_ok=True)
        finally:
            sockets.remove()
    finally:
        unlock_directory(lock)


def roll_engine_back(directory: Path, height: int, binary: Path | None = None) -> bytes:
    """Take CometBFT's state back to the one after block `height` and drop the blocks above it; the app hash it then names.

    What the validator signed last stays, so that it signs none of these heights again. The caller holds the directory.
    EngineError `engine.rollback` when it cannot go so far.
    """
    program = find_binary(binary)
    before: int | None = None
    while True:
        command: list[str | Path] = [program, "rollback", "--hard", "--home", str(directory.absolute())]
        try:
            done = subprocess.run(  # noqa: S603 -- the operator's program
                command, capture_output=True, text=True, timeout=_ROLLBACK_S, check=False, env=_environment()
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EngineError("engine.rollback", f"CometBFT cannot take its state back: {error}") from error
        found = _ROLLED.search(done.stdout)
        if done.returncode or found is None:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise EngineError(
                "engine.rollback",
                f"CometBFT cannot take its state back: {said[0][:300] if said else 'it said nothing'}",
                hint="its older state is pruned or was never there: join anew with althing node reset",
            )
        at, app_hash = int(found.group(1)), bytes.fromhex(found.group(2))
        # A block that was stored but not executed is dropped first, at the same height; then one height a call.
        if before is not None and at >= before:
            raise EngineError("engine.rollback", f"CometBFT's state stays at height {at}")
        if at < height:
            raise EngineError("engine.rollback", f"CometBFT's state is at height {at}, before {height}")
        if at == height:
            return app_hash
        before = at


def _shown(process: subprocess.Popen[bytes], rpc: Rpc, log: Path) -> StoppedBlocks:
    began = time.monotonic()
    while True:
        try:
            return StoppedBlocks(rpc)
        except UnavailableError:
            if process.poll() is not None:
                raise explain(log.read_text(errors="replace").splitlines()[-_LINES:]) from None
            if time.monotonic() - began > _UP_S:
                raise EngineError("engine.process", f"CometBFT's inspect did not answer within {_UP_S:.0f} s") from None
        time.sleep(_POLL_S)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _environment() -> dict[str, str]:
    """Variables of CometBFT's would change its configuration behind our back."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("CMT", "TM_"))}
