"""Named places where a test may end the process or make the disk fail. Without a test they do nothing.

Code calls `hit("spool.synced")` between two durable steps. A test in the same process installs a hook; a test of a
whole process sets ALTHING_FAULT="<name>:<n>", and the process kills itself (SIGKILL) at the n-th passage. With
ALTHING_FAULT_PASSED=<file> it adds the name of each point to the file when it first passes it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Final

from althing.protocol.errors import AlthingError

__all__ = ["PASSED_VARIABLE", "VARIABLE", "arm_from_environment", "hit", "install"]

VARIABLE: Final = "ALTHING_FAULT"
PASSED_VARIABLE: Final = "ALTHING_FAULT_PASSED"

_hook: Callable[[str], None] | None = None


def hit(name: str) -> None:
    """Pass the fault point `name`. A hook may raise (an OSError: the disk failed) or never return."""
    if _hook is not None:
        _hook(name)


def install(hook: Callable[[str], None] | None) -> None:
    """Have `hook` called at every fault point of this process; None takes it away."""
    global _hook
    _hook = hook


def arm_from_environment() -> None:
    """Arm what ALTHING_FAULT and ALTHING_FAULT_PASSED name. Called once by a daemon, before it starts anything."""
    wanted, noted = os.environ.get(VARIABLE, ""), os.environ.get(PASSED_VARIABLE, "")
    if not wanted and not noted:
        return
    name, _, count = wanted.partition(":")
    if wanted and (not name or not (count or "1").isdecimal()):
        raise AlthingError("settings.fault", f"{VARIABLE} is <name>:<n>, not {wanted!r}")
    left = int(count or "1")
    seen: set[str] = set()

    def pass_by(passed: str) -> None:
        nonlocal left
        if noted and passed not in seen:
            seen.add(passed)
            with open(noted, "a", encoding="ascii") as file:
                file.write(f"{passed}\n")
        if passed == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    install(pass_by)
