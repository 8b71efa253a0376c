"""How fast one device may send: a token bucket. Above its rate a device is told Busy, so nothing is lost."""

from __future__ import annotations

__all__ = ["Bucket"]


class Bucket:
    """Holds up to `burst` tokens, gains `rate_per_s`; a message takes one."""

    __slots__ = ("_burst", "_rate", "_seen", "_tokens")

    def __init__(self, rate_per_s: float, burst: int) -> None:
        self._rate = rate_per_s
        self._burst = float(burst)
        self._tokens = float(burst)
        self._seen = 0.0

    def take(self, now: float) -> bool:
        """False when the message comes too soon. `now` is any clock that never goes back, in seconds."""
        if now > self._seen:
            self._tokens = min(self._burst, self._tokens + (now - self._seen) * self._rate)
            self._seen = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
