"""Under which names a listener answers: a page of somebody else must not reach it by pointing its own name at 127.0.0.1."""

from __future__ import annotations

from collections.abc import Iterable

from althing.service.listener import is_loopback

__all__ = ["HostNames"]


class HostNames:
    """The names a listener goes by, where only this machine reaches it; elsewhere any (there a token decides)."""

    def __init__(self, host: str, others: Iterable[str] = ()) -> None:
        shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
        names = {shown, "localhost", *others} if is_loopback(host) else None
        self._names = None if names is None else frozenset(name.lower() for name in names)

    def include(self, header: bytes) -> bool:
        """True for a Host header that may pass, whatever its port."""
        return self._names is None or _name(header) in self._names


def _name(header: bytes) -> str:
    text = header.decode("latin-1").lower()
    if text.startswith("["):
        return text[: text.find("]") + 1]
    return text.partition(":")[0]
