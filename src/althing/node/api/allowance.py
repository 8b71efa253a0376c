"""How much evidence a node hands on for others: it costs signature checks and room in blocks."""

from __future__ import annotations

import threading
import time
from typing import Final

__all__ = ["Allowance"]

_BURST: Final = 10
_EVERY_S: Final = 6.0  # ten a minute, over all clients


class Allowance:
    """A bucket that fills with time. Any thread."""

    def __init__(self) -> None:
        self._left = float(_BURST)
        self._at = time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> bool:
        """True when one more may pass."""
        with self._lock:
            now = time.monotonic()
            self._left = min(_BURST, self._left + (now - self._at) / _EVERY_S)
            self._at = now
            if self._left < 1:
                return False
            self._left -= 1
            return True
