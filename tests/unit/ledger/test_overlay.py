"""Whether a record is there: the same answer as reading it, in every layer that may hold it."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from althing.ledger.modules.identity.state import Attribute
from althing.ledger.runtime.overlay import Overlay, RecordCache


class _Committed:
    def __init__(self, entries: dict[bytes, bytes]) -> None:
        self._entries = entries

    def get(self, *key: object) -> bytes | None:
        return self._entries.get(key[-1]) if len(key) == 1 else None  # type: ignore[call-overload]

    def scan(self, _prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return iter(())


KEY = st.sampled_from((b"a", b"b", b"c"))
STEP = st.tuples(st.sampled_from(("put", "delete", "keep", "drop", "get")), KEY)


@given(st.sets(KEY), st.lists(STEP, max_size=20))
def test_has_is_get_without_the_record(committed: set[bytes], steps: list[tuple[str, bytes]]) -> None:
    view = _Committed({key: Attribute("old").to_bytes() for key in sorted(committed)})
    state = Overlay(view, view, RecordCache())
    kept, current = {}, {}
    kept.update(dict.fromkeys(committed, "old"))
    current.update(kept)
    for step, key in steps:
        match step:
            case "put":
                state.put(key, Attribute("new"))
                current[key] = "new"
            case "delete":
                state.delete(key)
                current.pop(key, None)
            case "keep":
                state.keep()
                kept = dict(current)
            case "drop":
                state.drop()
                current = dict(kept)
            case _:
                found = state.get(key, Attribute)
                assert (None if found is None else found.value) == current.get(key)
        assert [state.has(one) for one in (b"a", b"b", b"c")] == [one in current for one in (b"a", b"b", b"c")]
