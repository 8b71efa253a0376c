"""The index of accepted counters against a plain set, and its survival of a dump."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from althing.gateway.spool.index import BELOW_WINDOW, CounterWindow, DedupIndex, Seen, digest_of


@given(st.lists(st.tuples(st.integers(0, 60), st.sampled_from(["d/a", "d/b"])), max_size=200), st.integers(4, 40))
def test_never_accepts_a_counter_twice(offers: list[tuple[int, str]], size: int) -> None:
    """Whatever the order and the window, a counter is free at most once, and what is known is known exactly."""
    window = CounterWindow(size)
    accepted: dict[int, Seen] = {}
    following = {"d/a": 0, "d/b": 100}
    for counter, stream in offers:
        found = window.find(counter)
        if found is None:
            assert counter not in accepted
            seen = Seen(stream, following[stream], digest_of(b"%d" % counter))
            window.add(counter, seen.stream, seen.sequence, seen.digest)
            accepted[counter] = seen
            following[stream] += 1
        elif found != BELOW_WINDOW:
            assert found == accepted[counter]
        window = CounterWindow.load(size, window.dump())
    # The newest ones stay known one by one.
    for counter in sorted(accepted)[-min(size, 4) :]:
        assert window.find(counter) == accepted[counter]


@given(st.lists(st.integers(0, 30), unique=True, min_size=2, max_size=20), st.data())
def test_taking_back_frees_again(counters: list[int], data: st.DataObject) -> None:
    window = CounterWindow(64)
    for sequence, counter in enumerate(counters):
        window.add(counter, "d/a", sequence, digest_of(b""))
    back = data.draw(st.integers(1, len(counters)))
    for counter in reversed(counters[-back:]):
        window.remove(counter)
    for counter in counters[-back:]:
        assert window.find(counter) is None
    for sequence, counter in enumerate(counters[:-back]):
        assert window.find(counter) == Seen("d/a", sequence, digest_of(b""))


def test_a_steady_device_costs_eight_bytes_a_message() -> None:
    window = CounterWindow(256)
    for counter in range(10_000):
        window.add(counter, "d/a", counter, digest_of(b"x"))
    floor, runs = window.dump()
    assert len(runs) == 1
    assert len(runs[0][3]) <= 8 * 320
    assert window.find(floor - 1) == BELOW_WINDOW
    assert window.find(9_999) == Seen("d/a", 9_999, digest_of(b"x"))
    assert window.find(10_000) is None


def test_keys_are_bounded_and_of_their_stream() -> None:
    index = DedupIndex(16, keys_max=3)
    for number in range(5):
        index.add_key("d/a", b"%d" % number, number, b"12345678")
    assert index.find_key("d/a", b"0") is None
    assert index.find_key("d/a", b"4") == Seen("d/a", 4, b"12345678")
    assert index.find_key("d/b", b"4") is None
    again = DedupIndex(16, keys_max=3)
    again.load(index.dump())
    assert again.find_key("d/a", b"2") == Seen("d/a", 2, b"12345678")
