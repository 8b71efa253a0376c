"""The page: static files built into the package, with the headers that keep it to itself."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

__all__ = ["Page", "static_directory"]

_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FOR_EVER: Final = "public, max-age=31536000, immutable"  # names under assets/ carry a hash of the content
_NOT_BUILT: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Althing node</title>
<h1>This node runs, its page was not built</h1>
<p>In a checkout <code>make setup</code> builds it. The API is at <a href="/v1/status">/v1/status</a>,
its description at <a href="/v1/openapi.json">/v1/openapi.json</a>.</p></html>
"""


def static_directory() -> Path:
    """Where the built page is, whether or not it was built."""
    return Path(str(files("althing"))) / "console" / "static"


class Page(StaticFiles):
    """Files of the page; a path without a dot is one of its rooms, so it gets index.html."""

    def __init__(self, directory: Path) -> None:
        self._built = (directory / "index.html").is_file()
        super().__init__(directory=directory, check_dir=False)
        self.config_checked = not self._built  # a page that was not built has no folder to check

    async def get_response(self, path: str, scope: Scope) -> Response:
        if not self._built:
            if path != ".":
                raise HTTPException(404, "there is no such resource")
            return HTMLResponse(_NOT_BUILT, headers={"Content-Security-Policy": _CSP, "Cache-Control": "no-cache"})
        if path == ".":
            path = "index.html"
        try:
            response = await super().get_response(path, scope)
        except HTTPException as exc:
            api = path.split("/")[0] in ("v1", "metrics", "healthz", "readyz")
            if exc.status_code != 404 or api or "." in path.rsplit("/", 1)[-1]:
                raise HTTPException(exc.status_code, "there is no such resource") from exc
            path = "index.html"
            response = await super().get_response(path, scope)
        response.headers["Content-Security-Policy"] = _CSP
        response.headers["Cache-Control"] = _FOR_EVER if path.startswith("assets/") else "no-cache"
        return response
