"""Was there one register? A check of recorded operations (Wing and Gong 1993, with Lowe's memory of configurations).

A history is linearizable if every operation can be given one moment between its call and its return at which it took
effect at once. A write that nobody answered may have taken effect at any later moment, or never.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["Operation", "check_registers", "linearizable"]

CONFIGURATIONS_MAX: Final = 1_000_000  # then the history is too concurrent to be decided, which is an error of the test

Value = str | None


@dataclass(frozen=True, slots=True)
class Operation:
    """One call on one register. `called` and `returned` are of one clock; `returned` None: no answer."""

    client: str
    register: str
    kind: Literal["read", "write"]
    value: Value  # written, or read
    called: int
    returned: int | None

    def __post_init__(self) -> None:
        assert self.returned is None or self.called <= self.returned, "an operation is called before it returns"


def check_registers(history: Iterable[Operation], *, initial: Value = None) -> int:
    """AssertionError with the operations that do not fit, register by register; how many operations were judged."""
    registers: dict[str, list[Operation]] = {}
    for operation in history:
        registers.setdefault(operation.register, []).append(operation)
    for name, operations in sorted(registers.items()):
        stuck = linearizable(operations, initial=initial)
        assert stuck is None, f"register {name} is not linearizable; none of these can come next: {stuck}"
    return sum(map(len, registers.values()))


def linearizable(operations: Iterable[Operation], *, initial: Value = None) -> list[Operation] | None:
    """None if the operations of one register are; else those that were due where the longest attempt ended."""
    known = sorted(_relevant(list(operations)), key=lambda one: one.called)
    required = sum(1 << index for index, one in enumerate(known) if one.returned is not None)
    seen: set[tuple[int, Value]] = {(0, initial)}
    waiting: list[tuple[int, Value]] = [(0, initial)]
    longest = -1
    stuck: list[Operation] = []
    while waiting:
        done, value = waiting.pop()
        if not required & ~done:
            return None
        due = _due(known, done)
        reads = [index for index in due if known[index].kind == "read" and known[index].value == value]
        # A read changes nothing, so one that can come now comes now: other orders allow no more than this one.
        nexts = reads[:1] or [index for index in due if known[index].kind == "write"]
        for index in nexts:
            found = (done | 1 << index, known[index].value)
            if found not in seen:
                assert len(seen) < CONFIGURATIONS_MAX, "the history is too concurrent to be decided"
                seen.add(found)
                waiting.append(found)
        if done.bit_count() > longest:
            longest, stuck = done.bit_count(), [known[index] for index in due]
    return stuck


def _relevant(operations: list[Operation]) -> list[Operation]:
    """Without unanswered reads, which say nothing, and unanswered writes of what nobody read, which may never have been."""
    read = {one.value for one in operations if one.kind == "read" and one.returned is not None}
    return [one for one in operations if one.returned is not None or (one.kind == "write" and one.value in read)]


def _due(known: list[Operation], done: int) -> list[int]:
    """Operations that may come next: called before any that is left has returned."""
    due: list[int] = []
    earliest: int | None = None
    for index, one in enumerate(known):
        if earliest is not None and one.called > earliest:
            break  # in order of their calls: neither may any later one
        if done >> index & 1:
            continue
        due.append(index)
        if one.returned is not None and (earliest is None or one.returned < earliest):
            earliest = one.returned
    return due
