"""Bounds of everything that comes from outside, with the reason beside each. Changing one forks the chain unless noted."""

from __future__ import annotations

from typing import Final

# --- encoding ---------------------------------------------------------------------------------------------------
CBOR_DEPTH_MAX: Final = 16  # deepest protocol object (transaction → message → table → row) is 7; contracts may need 12
CBOR_BYTES_MAX: Final = 4 * 1024 * 1024  # one block part set stays below CometBFT's default block size
INT_MAX: Final = 2**63 - 1  # fits every language's signed 64-bit integer

# --- names ------------------------------------------------------------------------------------------------------
NAME_CHARS_MAX: Final = 63  # a DNS label, so a name can become one
CHAIN_ID_CHARS_MAX: Final = 50  # CometBFT's own limit on a chain id
CONTENT_TYPE_CHARS_MAX: Final = 127  # RFC 6838 §4.2: type and subtype names
KID_BYTES: Final = 8  # a hint to find a key among an account's few; never trusted by itself

# --- transactions -----------------------------------------------------------------------------------------------
TX_BYTES_MAX: Final = 1024 * 1024  # an anchor over 40,000 streams fits; a block holds at least four
TX_MESSAGES_MAX: Final = 256
TX_SIGNERS_MAX: Final = 16
TX_SIGNATURES_MAX: Final = 64  # bounds the work of one admission: 64 × ~100 µs
NONCE_BYTES: Final = 8  # with signers, payer, expiry and messages in the id, 64 bits only separate equal transactions
BUNDLE_TXS_MAX: Final = 4096
ATTRIBUTES_MAX: Final = 256  # registers of an account: its DID document lists them all
ACCOUNT_KEYS_MAX: Final = 16  # a proof carries the record: 16 keys are 0.8 KB

# --- devices' messages and batches ------------------------------------------------------------------------------
MESSAGE_BYTES_MAX: Final = (
    256 * 1024
)  # a logger's file or a picture's thumbnail; larger things belong in an object store
LEAF_BYTES_MAX: Final = MESSAGE_BYTES_MAX + 1024
SALT_BYTES: Final = 16
BATCH_LEAVES_MAX: Final = 1 << 20
ANCHOR_ROWS_MAX: Final = 40_000
LOCATORS_MAX: Final = 4
LOCATOR_CHARS_MAX: Final = 256
METADATA_BYTES_MAX: Final = 4096
DEFINITION_BYTES_MAX: Final = 64 * 1024  # every proof carries its stream's definition

# --- proofs -----------------------------------------------------------------------------------------------------
MERKLE_PATH_MAX: Final = 64  # a log of 2^64 entries
PROOF_BYTES_MAX: Final = MESSAGE_BYTES_MAX + 256 * 1024
PROOF_LINKS_MAX: Final = 128
