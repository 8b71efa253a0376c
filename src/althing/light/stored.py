"""One byte form of a light block, for keeping it: CometBFT's `LightBlock` message, priorities and proposer left out."""

from __future__ import annotations

from typing import Final

from althing.light.blocks import LightBlock
from althing.protocol.block import Commit, Header, SignedHeader, ValidatorSet
from althing.protocol.block.commit import COMMIT_BYTES_MAX
from althing.protocol.block.header import HEADER_BYTES_MAX
from althing.protocol.block.wire import WireReader, message_field

__all__ = ["BLOCK_BYTES_MAX", "decode_light_block", "encode_light_block"]

BLOCK_BYTES_MAX: Final = 4 * 1024 * 1024  # 10,000 validators: 1.3 MB of commit and 0.8 MB of keys


def encode_light_block(block: LightBlock) -> bytes:
    """tendermint.types.LightBlock."""
    signed = message_field(1, block.header.encode()) + message_field(2, block.commit.encode())
    return message_field(1, signed) + message_field(2, block.validators.encode())


def decode_light_block(data: bytes) -> LightBlock:
    """Strict inverse of `encode_light_block`; of any chain."""
    reader = WireReader(data, "light block", bytes_max=BLOCK_BYTES_MAX)
    signed = WireReader(reader.take_message(1, bytes_max=BLOCK_BYTES_MAX), "signed header", bytes_max=BLOCK_BYTES_MAX)
    validators = ValidatorSet.decode(reader.take_message(2, bytes_max=BLOCK_BYTES_MAX))
    reader.end()
    header = Header.decode(signed.take_message(1, bytes_max=HEADER_BYTES_MAX), complete=False)
    commit = Commit.decode(signed.take_message(2, bytes_max=COMMIT_BYTES_MAX))
    signed.end()
    return LightBlock(SignedHeader(header, commit), validators)
