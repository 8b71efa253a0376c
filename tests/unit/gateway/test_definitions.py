"""Which definition was in force in which block: what looks at the state allow to say, and nothing more."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from althing.gateway.definitions import Definitions
from althing.protocol.messages.streams import StreamDefinition
from althing.protocol.schema import StreamSchema

PLAIN = StreamDefinition(
    1, 7, "d", bytes(20), "s", bytes(20), bytes(20), 0, StreamSchema(content_type="text/plain"), 1_700_000_000
)


def version(number: int) -> StreamDefinition:
    return replace(PLAIN, schema_version=number)


def test_the_first_version_was_in_force_from_the_beginning() -> None:
    known = Definitions()
    assert known.at(PLAIN.path, 1) is None
    known.learned(version(0), after=9, by=12)
    assert known.at(PLAIN.path, 1) == version(0)


def test_a_later_version_says_nothing_of_before() -> None:
    known = Definitions()
    known.learned(version(3), after=0, by=40)
    assert [known.at(PLAIN.path, height) for height in (1, 40, 41)] == [None, None, version(3)]


def test_between_two_looks_nobody_knows() -> None:
    known = Definitions()
    known.learned(version(0), after=0, by=10)
    known.learned(version(1), after=20, by=23)  # complete up to 20
    known.learned(version(2), after=None, by=50)  # a node kept it back
    found = [known.at(PLAIN.path, height) for height in (20, 21, 23, 24, 50, 51)]
    assert found == [version(0), None, None, None, None, version(2)]


@given(st.lists(st.integers(2, 60), min_size=1, max_size=8, unique=True), st.lists(st.integers(0, 70), max_size=12))
def test_what_is_said_is_true(changes: list[int], looks: list[int]) -> None:
    """Versions change in some blocks; looks find what holds after a block. The row of a block names what was in force
    before or after the change in it, so such a block must not be decided."""
    changes, looks = sorted(changes), sorted(looks)
    known, before = Definitions(), 0
    for look in looks:
        known.learned(version(sum(1 for at in changes if at <= look)), after=before, by=look)
        before = look
    for height in range(1, (looks[-1] if looks else 0) + 1):
        found = known.at(PLAIN.path, height)
        if found is not None:
            assert found.schema_version == sum(1 for at in changes if at <= height)
            assert height not in changes
