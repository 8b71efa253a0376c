"""One embedded DuckDB per reader: only local Parquet files, no extensions from the network, bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import duckdb

from althing.archive.errors import SegmentUnavailable
from althing.archive.objects import ObjectMissing

__all__ = ["Database", "literal"]

_GLOB: Final = str.maketrans({"[": "[[]", "*": "[*]", "?": "[?]"})


class Database:
    """Runs queries over segment files; each query has its own cursor, so threads do not wait for one another."""

    def __init__(self, *, threads: int = 2, memory_bytes_max: int = 512 << 20) -> None:
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "threads": threads,
                "memory_limit": f"{memory_bytes_max}B",
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "preserve_insertion_order": False,
                "temp_directory": "",
            },
        )
        # A session's setting, not the database's. Segments never change under their name, so their footers may be kept.
        self._connection.execute("SET GLOBAL parquet_metadata_cache = true")
        self._lock = threading.Lock()

    def stream(self, statement: str, files: Sequence[Path], rows: int) -> Iterator[Any]:
        """The result as Arrow record batches, made as they are taken; errors as of `run`."""
        cursor = self._cursor()
        try:
            yield from cursor.sql(statement, params={"files": [literal(path) for path in files]}).to_arrow_reader(rows)
        except duckdb.Error as exc:
            raise _failed(exc, files) from exc
        finally:
            cursor.close()

    @contextmanager
    def run(self, statement: str, files: Sequence[Path], values: Mapping[str, Any]) -> Iterator[Any]:
        """A finished query's cursor. `$files` stands for the files, `$name` for the values.

        A file that has vanished is ObjectMissing (a compaction replaced it: refresh and ask again); what cannot be read is
        SegmentUnavailable.
        """
        cursor = self._cursor()
        try:
            yield cursor.execute(statement, {"files": [literal(path) for path in files], **values})
        except duckdb.Error as exc:
            raise _failed(exc, files) from exc
        finally:
            cursor.close()

    def close(self) -> None:
        self._connection.close()

    def _cursor(self) -> Any:
        with self._lock:
            return self._connection.cursor()


def _failed(exc: duckdb.Error, files: Sequence[Path]) -> Exception:
    gone = [path for path in files if not path.exists()]
    if gone:
        return ObjectMissing(str(gone[0]))
    first_line = str(exc).partition("\n")[0]
    return SegmentUnavailable(f"a query over segments failed: {first_line}")


def literal(path: Path) -> str:
    """A path with the characters escaped that DuckDB would take for a pattern."""
    return str(path).translate(_GLOB)
