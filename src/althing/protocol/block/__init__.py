"""Blocks, headers and commits exactly in CometBFT's form (v0.39 line, block protocol 11). See docs/spec/blocks.md."""

from __future__ import annotations

from althing.protocol.block.blocks import (
    PART_BYTES,
    Block,
    SignedHeader,
    data_bytes_max,
    data_hash,
    decode_data,
    encode_data,
    evidence_hash,
    part_set,
    tx_size,
)
from althing.protocol.block.commit import BlockIdFlag, Commit, CommitSig, median_time, precommit_sign_bytes
from althing.protocol.block.header import BLOCK_VERSION, CHAIN_ID_BYTES_MAX, ZERO_BLOCK_ID, BlockId, Header
from althing.protocol.block.params import BLOCK_BYTES_MAX, ConsensusParams
from althing.protocol.block.results import TxResult, results_hash
from althing.protocol.block.times import ZERO_TIME, Timestamp
from althing.protocol.block.validators import (
    TOTAL_POWER_MAX,
    VALIDATORS_MAX,
    Validator,
    ValidatorSet,
    validator_address,
)

__all__ = [
    "BLOCK_BYTES_MAX",
    "BLOCK_VERSION",
    "CHAIN_ID_BYTES_MAX",
    "PART_BYTES",
    "TOTAL_POWER_MAX",
    "VALIDATORS_MAX",
    "ZERO_BLOCK_ID",
    "ZERO_TIME",
    "Block",
    "BlockId",
    "BlockIdFlag",
    "Commit",
    "CommitSig",
    "ConsensusParams",
    "Header",
    "SignedHeader",
    "Timestamp",
    "TxResult",
    "Validator",
    "ValidatorSet",
    "data_bytes_max",
    "data_hash",
    "decode_data",
    "encode_data",
    "evidence_hash",
    "median_time",
    "part_set",
    "precommit_sign_bytes",
    "results_hash",
    "tx_size",
    "validator_address",
]
