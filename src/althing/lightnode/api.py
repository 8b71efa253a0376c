"""What programs on this machine may ask a light node: JSON over loopback, every answer verified.

Plain Starlette: a device that has little memory need not load what describes an API. docs/guides/light-node.md.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from althing.client.client import AsyncClient
from althing.client.errors import ClientError
from althing.client.light import LightClient
from althing.client.readings import ReadingRecord
from althing.light.blocks import LightBlock
from althing.protocol.block.jsonform import json_of_signed_header, json_of_time, json_of_validators
from althing.protocol.errors import AlthingError, UnavailableError

__all__ = ["ParameterError", "build_app"]

_HEX: Final = re.compile(r"(?:[0-9a-f]{2}){1,512}")
_TIMES: Final = ("device", "arrival", "block")
_READINGS_MAX: Final = 10_000
_ANSWER_S: Final = 60
# A name that points here from elsewhere is not ours: pages of others could otherwise ask through a user's browser.
_HOSTS: Final = ["localhost", "127.0.0.1", "[::1]", "::1"]


class ParameterError(AlthingError):
    """A parameter is not of the form: `api.parameter`."""

    http_status = 400


def build_app(light: LightClient, client: AsyncClient | None) -> Starlette:
    """The application; without `client` (another chain than Althing's) it answers about headers alone."""

    async def status(_request: Request) -> Any:
        block = light.latest
        period_ns = light.options.trusting_period_s * 10**9
        return {
            "chain_id": light.chain_id,
            "height": block.height,
            "hash": block.hash.hex(),
            "time": json_of_time(block.time),
            "trusted_until": json_of_time(type(block.time).from_ns(block.time.ns + period_ns)),
            "validators": len(block.validators.validators),
            "primary": light.primary,
            "witnesses": list(light.witnesses),
        }

    async def header(request: Request) -> Any:
        text = request.path_params["height"]
        if text != "latest" and not (text.isascii() and text.isdigit() and 0 < len(text) < 19 and int(text) > 0):
            raise ParameterError("api.parameter", "a height is a number from 1, or: latest")
        return _block(await (light.update() if text == "latest" else light.block(int(text))))

    async def state(request: Request) -> Any:
        key = request.path_params["key"]
        if not _HEX.fullmatch(key):
            raise ParameterError("api.parameter", "a key is 1 to 512 bytes in lower-case hexadecimal")
        version, value = await _of_chain(client).state(bytes.fromhex(key))
        return {"key": key, "height": version, "value": None if value is None else value.hex()}

    async def readings(request: Request) -> Any:
        stream = f"{request.path_params['device']}/{request.path_params['stream']}"
        wanted = request.query_params
        time, limit = wanted.get("time", "device"), wanted.get("limit", "100")
        if time not in _TIMES or not (limit.isascii() and limit.isdigit() and 0 < int(limit[:6]) <= _READINGS_MAX):
            raise ParameterError("api.parameter", f"time is one of {', '.join(_TIMES)}, limit 1 to {_READINGS_MAX}")
        found = await _of_chain(client).readings(
            stream,
            time=time,
            start=wanted.get("from"),
            end=wanted.get("to"),
            quantity=wanted.get("quantity"),
            limit=int(limit),
            newest_first=wanted.get("order") == "desc",
        )
        return {"stream": stream, "verified": True, "readings": [_reading(row) for row in found]}

    return Starlette(
        routes=[
            Route("/status", _answer(status)),
            Route("/header/{height}", _answer(header)),
            Route("/state/{key}", _answer(state)),
            Route("/readings/{device}/{stream}", _answer(readings)),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS, www_redirect=False)],
        exception_handlers={AlthingError: _problem, HTTPException: _other},
    )


def _answer(handler: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
    async def run(request: Request) -> Response:
        try:
            async with asyncio.timeout(_ANSWER_S):
                return JSONResponse(await handler(request), headers={"Cache-Control": "no-store"})
        except TimeoutError as exc:
            raise UnavailableError("light.source", f"the nodes did not answer within {_ANSWER_S} s") from exc

    return run


def _of_chain(client: AsyncClient | None) -> AsyncClient:
    if client is None:
        raise ClientError("client.chain", "state and readings need a trust file of an Althing chain")
    return client


def _block(block: LightBlock) -> dict[str, Any]:
    return {
        "height": block.height,
        "hash": block.hash.hex(),
        "signed_header": json_of_signed_header(block.signed),
        "validators": json_of_validators(block.validators.validators),
    }


def _reading(row: ReadingRecord) -> dict[str, Any]:
    return {
        "sequence": row.sequence,
        "index": row.index,
        "quantity": row.quantity,
        "value": row.value,
        "unit": row.unit,
        "kind": row.kind,
        "device_time": row.device_time,
        "arrival_time": row.arrival_time,
        "origin": row.origin,
    }


def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, AlthingError)
    status = getattr(error, "status", error.http_status)
    headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, UnavailableError) else {}
    return _document(status, error.code, error.message, error.hint, headers)


def _other(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "api.not_found", 405: "api.method"}.get(error.status_code, "api.request")
    return _document(error.status_code, code, str(error.detail), "", {})


def _document(status: int, code: str, detail: str, hint: str, headers: dict[str, str]) -> Response:
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "hint": hint,
    }
    return Response(
        json.dumps(document).encode(), status, {"Cache-Control": "no-store", **headers}, "application/problem+json"
    )
