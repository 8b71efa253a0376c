"""The page's files: rooms of the page fall back to index.html, hashed files are kept for ever, nothing else is served."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from althing.node.api.page import Page
from althing.node.api.problems import install_problems


def ask(directory: Path, path: str, **headers: str) -> httpx2.Response:
    app = FastAPI()
    install_problems(app)
    app.mount("/", Page(directory))

    async def run() -> httpx2.Response:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://node") as http:
            return await http.get(path, headers=headers)

    return asyncio.run(run())


@pytest.fixture
def built(tmp_path: Path) -> Path:
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_text("<!doctype html><title>page</title>")
    (static / "assets" / "index-3f9a.js").write_text("export {}")
    (tmp_path / "secret.txt").write_text("secret")
    return static


@pytest.mark.parametrize("path", ["/", "/index.html", "/streams", "/streams/pump-1/temperature"])
def test_rooms_of_the_page_are_the_page(built: Path, path: str) -> None:
    answer = ask(built, path)
    assert answer.status_code == 200
    assert "<title>page</title>" in answer.text
    assert answer.headers["cache-control"] == "no-cache"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_files_with_a_hash_are_kept_for_ever(built: Path) -> None:
    answer = ask(built, "/assets/index-3f9a.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "immutable" in answer.headers["cache-control"]
    again = ask(built, "/assets/index-3f9a.js", **{"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    "path",
    [
        "/assets/gone.js",
        "/v1/nothing",
        "/v1",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/assets/%2e%2e%2f%2e%2e%2fsecret.txt",
    ],
)
def test_nothing_else_is_there(built: Path, path: str) -> None:
    answer = ask(built, path)
    assert answer.status_code == 404
    assert answer.json()["code"] == "api.not_found"


def test_a_page_that_was_not_built_says_so(tmp_path: Path) -> None:
    answer = ask(tmp_path / "missing", "/")
    assert answer.status_code == 200
    assert "make setup" in answer.text
    assert ask(tmp_path / "missing", "/streams").status_code == 404
