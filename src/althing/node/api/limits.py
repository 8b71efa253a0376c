"""Bounds of everything the REST API takes, with the reason beside each."""

from __future__ import annotations

from typing import Final

# --- requests
BODY_BYTES_MAX: Final = 16 * 1024 * 1024  # the SDK packs 8 MB and one transaction of at most 1 MB
BODY_S: Final = 30  # a body has to arrive within it, so slow senders cannot hold connections for ever
URL_BYTES_MAX: Final = 8 * 1024
TRANSACTIONS_MAX: Final = 4096  # of one request; as many as a bundle takes
WAIT_S_MAX: Final = 120  # for transactions to be in a block
WAIT_S_DEFAULT: Final = 30
PROOFS_MAX: Final = 256  # of one request; about 1.5 MB
KEY_BYTES_MAX: Final = 512  # of a state key
KEYS_MAX: Final = 256  # of one request, proved under one header

# --- pages
PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 1000
CURSOR_CHARS_MAX: Final = 1024
SCANNED_MAX: Final = 20_000  # records looked at for one filtered page; the page then ends early, with a cursor
POINTS_DEFAULT: Final = 500
POINTS_MAX: Final = 5000  # a screen has fewer columns
ENTRIES_MAX: Final = 1000  # rows of a batch's table shown with it
STREAMS_OF_DEVICE_MAX: Final = 1000

# --- work
STATE_THREADS: Final = 4  # reads of LMDB take microseconds; a few threads keep the loop free
ARCHIVE_THREADS: Final = 4  # DuckDB queries and proofs; each may wait two seconds for a segment
WAITING_MAX: Final = 256  # reads waiting for a thread, of either kind; then 503

# --- events
EVENTS_HEARTBEAT_S: Final = 15  # a comment while nothing happens, so that both ends notice a dead connection
EVENTS_SEND_S: Final = 30  # a reader that takes nothing for so long is cut off; it resumes by its cursor
EVENTS_CHUNK_BYTES: Final = 64 * 1024
EVENTS_HEIGHTS_CACHED: Final = 64  # rendered once for all followers that keep up
