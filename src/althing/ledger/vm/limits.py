"""Bounds of contracts, with the reason beside each. Each is a rule of a VM version: changing one forks the chain."""

from __future__ import annotations

from typing import Final

# --- source and IR ----------------------------------------------------------------------------------------------
SOURCE_BYTES_MAX: Final = 64 * 1024  # a contract that members approve must be one that members can read
CODE_BYTES_MAX: Final = 64 * 1024
NESTING_MAX: Final = 24  # of expressions, of blocks and of brackets; both parsers of it are recursive
CODE_NESTING_MAX: Final = 96  # of nodes in a body: what the two bounds on sources can make together
EXPRESSION_NESTING_MAX: Final = 60  # of nodes: long sums lean to the left and nest too
NAME_CHARS_MAX: Final = 63
FUNCTIONS_MAX: Final = 256
RECORDS_MAX: Final = 64
ERRORS_MAX: Final = 64
FIELDS_MAX: Final = 64  # of a record, of the contract's state
PARAMETERS_MAX: Final = 16
LOCALS_MAX: Final = 128
CONSTANTS_MAX: Final = 1024
ITEMS_MAX: Final = 1024  # arguments, elements of one display, statements of one block
TYPE_NESTING_MAX: Final = 6  # with a record in each level, what is stored stays within the codec's depth

# --- values -----------------------------------------------------------------------------------------------------
INT_BITS: Final = 256  # two's complement: −2^255 … 2^255 − 1
INT_MIN: Final = -(1 << (INT_BITS - 1))
INT_MAX: Final = (1 << (INT_BITS - 1)) - 1
DECIMAL_PLACES: Final = 18
TEXT_MAX: Final = 64 * 1024  # characters of a str, bytes of a bytes
ITEMS_HELD_MAX: Final = 16 * 1024  # of a list, dict or tuple
DEPTH_MAX: Final = 32  # of containers, wherever one is walked: compared, encoded, turned into text
STORED_BYTES_MAX: Final = 64 * 1024
KEY_BYTES_MAX: Final = 256  # of one key of a Map; keys are in every state proof

# --- running ----------------------------------------------------------------------------------------------------
DEPTH_UNITS_MAX: Final = 1200  # nesting of all functions that are open at once: about a hundred calls of a usual depth
CONTRACT_DEPTH_MAX: Final = 8  # contracts calling one another
MEMORY_MAX: Final = 32 * 1024 * 1024  # bytes allocated over a whole call, by the rule of docs/spec/contracts.md
EVENTS_MAX: Final = 256
EVENT_BYTES_MAX: Final = 4096
MESSAGE_CHARS_MAX: Final = 256  # of what a contract says when it refuses
SCAN_MAX: Final = 256  # keys of one page
