from __future__ import annotations

from collections.abc import Iterator

import pytest

from .world import World, new_home, running_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One chain for the tests that only read: six batches of three streams."""
    with running_world(new_home(tmp_path_factory.mktemp("node") / "home")) as found:
        for batch in range(6):
            values = [20.5 + batch, 21.25, -3]
            found.anchor([(path, values) for path in sorted(found.numbers)])
        yield found
