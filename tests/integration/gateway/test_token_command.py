"""`althing gateway token` makes no token for a device that nobody has registered."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from typer.testing import CliRunner

from althing.cli.main import app

from .place import Site, run, site


async def token(here: Site, *words: str) -> tuple[int, str, str]:
    arguments = ["gateway", "token", "--home", str(here.home.path), *words]
    done = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    return done.exit_code, done.stdout, done.stderr


def test_the_ledger_is_asked(tmp_path: Path) -> None:
    async def test() -> None:
        async with site(tmp_path) as here:
            node = ("--node", here.node.url)
            code, out, _ = await token(here, "legacy", "--json", *node)
            assert code == 0
            assert json.loads(out)["token"].startswith("alt_")
            code, out, err = await token(here, "legcay", *node)
            assert code != 0
            assert not out
            assert "gateway.unknown_device" in err
            assert [one.device for one in here.gateway.tokens.tokens()] == ["legacy"]
            assert (await token(here, "later", "--unchecked"))[0] == 0
            await here.node.stop()
            code, _, err = await token(here, "legacy", *node)
            assert code == 0
            assert "no node answers" in err

    run(test())
