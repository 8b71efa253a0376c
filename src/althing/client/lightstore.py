"""Light blocks that are trusted, in a folder: bounded, each file replaced whole, ready again after a restart.

anchor.json             what trust began with: chain, height, hash
<height>-<hash>.block   one light block; its name says what it must hash to
attack.json             evidence of an attack; while it is there, nothing is verified
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from althing.light.blocks import LightBlock
from althing.light.stored import BLOCK_BYTES_MAX, decode_light_block, encode_light_block
from althing.protocol.errors import ProtocolError
from althing.service.durable import make_folders, sync_folder, write_file

__all__ = ["Anchor", "LightStore"]

_NAME: Final = re.compile(r"([0-9]{19})-([0-9a-f]{64})\.block")


@dataclass(frozen=True, slots=True)
class Anchor:
    """A block that the user trusts."""

    chain_id: str
    height: int
    hash: bytes


class LightStore:
    """Used by one process. Blocking, but short: files of a few kilobytes."""

    def __init__(self, folder: Path, *, blocks_max: int = 1_000) -> None:
        assert blocks_max >= 2
        self._folder = folder
        self._blocks_max = blocks_max
        self._names: dict[int, Path] = {}  # by height, ascending

    def open(self, anchor: Anchor) -> bool:
        """True when what is kept began with this anchor. If it began with another, it is forgotten: the user is right."""
        make_folders(self._folder, mode=0o700)
        if self._kept_anchor() != anchor:
            for path in self._folder.iterdir():
                if path.name != "anchor.json" and path.is_file():
                    path.unlink()
            self._names = {}
            document = {"chain_id": anchor.chain_id, "height": anchor.height, "hash": anchor.hash.hex()}
            write_file(self._folder / "anchor.json", json.dumps(document).encode())
            return False
        found = ((_NAME.fullmatch(path.name), path) for path in self._folder.iterdir())
        self._names = dict(sorted((int(match[1]), path) for match, path in found if match is not None))
        return self.latest() is not None

    def add(self, block: LightBlock) -> None:
        """Keep a trusted block; beyond the bound the lowest goes, but the latest stays."""
        path = self._folder / f"{block.height:019d}-{block.hash.hex()}.block"
        write_file(path, encode_light_block(block))
        self._names = dict(sorted({**self._names, block.height: path}.items()))
        while len(self._names) > self._blocks_max:
            self._forget(next(iter(self._names)))

    def at(self, height: int) -> LightBlock | None:
        """The trusted block of a height. A damaged file is as if it had never been there."""
        path = self._names.get(height)
        if path is None:
            return None
        try:
            with path.open("rb") as file:
                block = decode_light_block(file.read(BLOCK_BYTES_MAX + 1))
            if path.name == f"{block.height:019d}-{block.hash.hex()}.block":
                return block
        except (OSError, ProtocolError):
            pass
        self._forget(height)
        return None

    def latest(self) -> LightBlock | None:
        """The highest trusted block."""
        return self._first(reversed(list(self._names)))

    def below(self, height: int) -> LightBlock | None:
        """The highest trusted block below a height."""
        return self._first(h for h in reversed(list(self._names)) if h < height)

    def above(self, height: int) -> LightBlock | None:
        """The lowest trusted block above a height."""
        return self._first(h for h in list(self._names) if h > height)

    def __len__(self) -> int:
        return len(self._names)

    def save_attack(self, document: dict[str, Any]) -> None:
        """Keep the evidence of an attack."""
        write_file(self._folder / "attack.json", json.dumps(document, indent=1).encode())

    def attack(self) -> bool:
        """True when an attack was found, and nobody has decided yet what is to be trusted."""
        return (self._folder / "attack.json").exists()

    def _first(self, heights: Iterator[int]) -> LightBlock | None:
        return next((block for height in heights if (block := self.at(height)) is not None), None)

    def _forget(self, height: int) -> None:
        self._names.pop(height).unlink(missing_ok=True)
        sync_folder(self._folder)

    def _kept_anchor(self) -> Anchor | None:
        try:
            document = json.loads((self._folder / "anchor.json").read_bytes())
            return Anchor(document["chain_id"], document["height"], bytes.fromhex(document["hash"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
