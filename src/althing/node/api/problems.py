"""Errors as RFC 9457 problems: stable `code`, what happened (`detail`), what to do (`hint`). 503 says when to come again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from althing.protocol.errors import AlthingError, UnavailableError

__all__ = [
    "RESPONSES",
    "NotThereError",
    "ParameterError",
    "Problem",
    "SlowBodyError",
    "TooLargeError",
    "install_problems",
    "problem_response",
    "status_of",
]

_log = structlog.get_logger("althing.node.api")

MEDIA_TYPE: Final = "application/problem+json"

# Where a code says more than its class: what does not exist, is gone, or will be there soon.
_STATUS: Final[Mapping[str, int]] = {
    "engine.unknown_height": 404,
    "engine.pruned": 410,
    "engine.stopped": 503,
    "engine.halted": 503,
    "state.pruned": 410,
    "state.unknown_version": 404,
    "archive.unknown_message": 404,
    "archive.query": 400,
    "archive.cursor": 400,
}


class ParameterError(AlthingError):
    """A parameter or body is not of the form: `api.parameter`, `api.cursor`, `api.body`."""

    http_status = 400


class NotThereError(AlthingError):
    """A path leads nowhere: `api.not_found`, or something of the chain that does not exist: `query.*`."""

    http_status = 404


class TooLargeError(AlthingError):
    """More than one request may carry: `api.too_large`."""

    http_status = 413


class SlowBodyError(AlthingError):
    """A body takes too long to arrive: `api.slow_body`."""

    http_status = 408


class Problem(BaseModel):
    """A problem in the form of RFC 9457, with a stable code that programs may match on."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Not Found",
                    "status": 404,
                    "detail": "there is no device pump-9",
                    "code": "query.device",
                    "hint": "list them: althing device list",
                }
            ]
        }
    )

    type: str = Field("about:blank", description="Always about:blank: the code tells the kind")
    title: str = Field(description="The HTTP status in words")
    status: int
    detail: str = Field(description="What happened")
    code: str = Field(description="Stable, dotted; programs may match on it")
    hint: str = Field("", description="What to do about it, if anything")


def _documented(status: int, text: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": f"{HTTPStatus(status).phrase}: {text}", "content": {MEDIA_TYPE: {"schema": schema}}}


RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    400: _documented(400, "a parameter, cursor or body is not of the form"),
    401: _documented(401, "this listener wants a bearer token"),
    404: _documented(404, "it does not exist"),
    410: _documented(410, "it existed and is pruned here"),
    503: _documented(503, "not now; Retry-After says when"),
}
"""What every resource may answer instead; documented once."""


def status_of(error: AlthingError) -> int:
    if isinstance(error, UnavailableError):
        return 503
    return _STATUS.get(error.code, error.http_status)


def problem_response(
    status: int, code: str, detail: str, hint: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """A problem document as an answer."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "hint": hint,
    }
    return Response(
        json.dumps(document, ensure_ascii=False).encode(),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        MEDIA_TYPE,
    )


def _of_althing(_request: Request, error: Exception) -> Response:
    assert isinstance(error, AlthingError)
    status = status_of(error)
    headers = {}
    if status == 503:
        headers["Retry-After"] = str(error.retry_after_s if isinstance(error, UnavailableError) else 5)
    if status == 500:
        _log.error("a request failed", code=error.code, reason=error.message)
    return problem_response(status, error.code, error.message, error.hint, headers)


def _of_validation(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    return problem_response(400, "api.parameter", f"{place}: {first['msg']}", "see the API's description")


def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "api.not_found", 405: "api.method"}.get(error.status_code, "api.request")
    detail, hint = str(error.detail), "see /v1/openapi.json"
    if error.status_code == 404:
        detail = f"nothing is called {request.url.path[:200]}"
        hint = "a name has no slash in it, a stream is <device>/<stream>; see /v1/openapi.json"
    return problem_response(error.status_code, code, detail, hint, error.headers)


def _of_bug(_request: Request, _error: Exception) -> Response:
    # The server logs it, with its traceback.
    return problem_response(500, "api.internal", "this is a fault of the node; its log says more")


def install_problems(app: FastAPI) -> None:
    """Every error of an application leaves it as a problem."""
    app.add_exception_handler(AlthingError, _of_althing)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(Exception, _of_bug)
