"""CometBFT's JSON-RPC, as far as its state sync and its light clients call it, over any engine (docs/reference/api.md).

POST / and POST /cometbft take JSON-RPC 2.0, GET /cometbft/<method> the same with parameters in the query. Names, forms and
error texts are those of CometBFT v0.39 `rpc/core`: its clients tell a missing height from one to come by the text alone.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from althing import __version__
from althing.consensus.engine import EngineError, Phase
from althing.node.api.context import Api, Context
from althing.protocol.block.jsonform import (
    json_of_params,
    json_of_signed_header,
    json_of_time,
    json_of_validator,
)
from althing.protocol.errors import AlthingError

__all__ = ["ask", "call", "router"]

router = APIRouter(include_in_schema=False)

_log = structlog.get_logger("althing.node.api")

_BATCH_MAX: Final = 10  # CometBFT's own bound
_PAGE_DEFAULT: Final = 30
_PAGE_MAX: Final = 100
_ENGINE_VERSION: Final = "0.39.4"

_PARSE, _REQUEST, _METHOD, _PARAMS, _INTERNAL = -32700, -32600, -32601, -32602, -32603
_TITLES: Final = {
    _PARSE: "Parse error. Invalid JSON",
    _REQUEST: "Invalid Request",
    _METHOD: "Method not found",
    _PARAMS: "Invalid params",
    _INTERNAL: "Internal error",
}


class _RpcError(Exception):
    """An answer that is an error."""

    def __init__(self, code: int, data: str = "") -> None:
        super().__init__(data)
        self.form = {"code": code, "message": _TITLES[code], **({"data": data} if data else {})}


@router.post("/")
@router.post("/cometbft")
@router.post("/cometbft/")
async def call(request: Request, api: Context) -> Response:
    """One JSON-RPC request, or up to ten in a list."""
    try:
        document = json.loads(await request.body())
    except (ValueError, RecursionError):
        return _response(_failed(None, _RpcError(_PARSE, "the body is not JSON")))
    if isinstance(document, list):
        if not 0 < len(document) <= _BATCH_MAX:
            return _response(_failed(None, _RpcError(_REQUEST, f"a batch has 1 to {_BATCH_MAX} requests")))
        answers = [answer for item in document if (answer := await _answered(api, item)) is not None]
        return _response(answers)
    answer = await _answered(api, document)
    return Response(status_code=204) if answer is None else _response(answer)


@router.get("/cometbft/{method}")
async def ask(method: str, request: Request, api: Context) -> Response:
    """A method with its parameters in the query; text may stand in quotation marks, as CometBFT writes it."""
    params = {
        name: text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
        for name, text in request.query_params.items()
    }
    answer = await _answered(api, {"id": -1, "method": method, "params": params})
    assert answer is not None, "the request has an id"
    return _response(answer, 200 if "result" in answer else 500)


async def _answered(api: Api, item: Any) -> dict[str, Any] | None:
    """The response object; None for a notification."""
    if not isinstance(item, Mapping):
        return _failed(None, _RpcError(_REQUEST, "a request is an object"))
    number = item.get("id")
    if number is None:
        return None
    if type(number) not in (int, str, float):
        return _failed(None, _RpcError(_REQUEST, "an id is a number or text"))
    try:
        found = _METHODS.get(item["method"]) if type(item.get("method")) is str else None
        if found is None:
            raise _RpcError(_METHOD)
        names, function = found
        params = _named(item.get("params"), names)
        if function is _broadcast_evidence:
            result = await run_in_threadpool(function, api, params)  # the engine verifies signatures meanwhile
        else:
            result = await api.reads.state(function, api, params)
    except _RpcError as error:
        return _failed(number, error)
    except AlthingError as error:
        return _failed(number, _RpcError(_INTERNAL, f"{error.message} [{error.code}]"))
    return {"jsonrpc": "2.0", "id": number, "result": result}


def _named(params: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Parameters by name, or in order; unknown ones are ignored, as CometBFT does."""
    if params is None:
        return {}
    if isinstance(params, list):
        if len(params) > len(names):
            raise _RpcError(_PARAMS, f"at most {len(names)} parameters")
        return dict(zip(names, params, strict=False))
    if not isinstance(params, Mapping):
        raise _RpcError(_PARAMS, "parameters are an object or a list")
    return {name: params[name] for name in names if name in params}


def _integer(params: Mapping[str, Any], name: str) -> int | None:
    """A number, or text with one; 64 bits."""
    value = params.get(name)
    if value is None or value == "":
        return None
    if type(value) is str and len(value) <= 20 and value.removeprefix("-").isdecimal() and value.isascii():
        value = int(value)
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise _RpcError(_PARAMS, f"{name} is not a number")
    return value


def _height(api: Api, params: Mapping[str, Any], *, ahead: int = 0) -> int:
    """`getHeight` of CometBFT's `rpc/core`, with its words."""
    status = api.node.status()
    latest = status.latest_height + ahead if status.latest_height else 0
    height = _integer(params, "height")
    if height is None:
        return latest
    if height <= 0:
        raise _RpcError(_INTERNAL, f"height must be greater than 0, but got {height}")
    if height > latest:
        raise _RpcError(
            _INTERNAL, f"height {height} must be less than or equal to the current blockchain height {latest}"
        )
    base = max(status.base_height, api.node.genesis.initial_height)
    if height < base:
        raise _not_available(height, base)
    return height


def _not_available(height: int, base: int) -> _RpcError:
    return _RpcError(_INTERNAL, f"height {height} is not available, lowest height is {base}")


def _read(api: Api, height: int, read: Callable[[int], Any]) -> Any:
    """A height may be pruned between the question and the answer."""
    try:
        return read(height)
    except EngineError as error:
        if error.code == "engine.pruned":
            raise _not_available(height, api.node.status().base_height) from error
        raise


# --- methods ------------------------------------------------------------------------------------------------------------


def _health(_api: Api, _params: Mapping[str, Any]) -> dict[str, Any]:
    return {}


def _status(api: Api, _params: Mapping[str, Any]) -> dict[str, Any]:
    status = api.node.status()
    engine, latest = api.node.engine, status.latest_height
    base = max(status.base_height, api.node.genesis.initial_height)
    newest = engine.signed_header(latest).header if latest else None
    oldest = _read(api, base, engine.signed_header).header if latest else None
    power = 0
    key = None
    if latest:
        own = engine.validators(latest).find(status.validator_address)
        if own is not None:
            power, key = own.power, json_of_validator(own)["pub_key"]
    genesis_time = json_of_time(status.latest_block_time)
    return {
        "node_info": {
            "protocol_version": {"p2p": "8", "block": "11", "app": str(newest.app_version if newest else 0)},
            "id": "",
            "listen_addr": "",
            "network": status.chain_id,
            "version": _ENGINE_VERSION,
            "channels": "",
            "moniker": f"althing {__version__}",
            "other": {"tx_index": "off", "rpc_address": ""},
        },
        "sync_info": {
            "latest_block_hash": newest.hash().hex().upper() if newest else "",
            "latest_app_hash": newest.app_hash.hex().upper() if newest else "",
            "latest_block_height": str(latest),
            "latest_block_time": json_of_time(newest.time) if newest else genesis_time,
            "earliest_block_hash": oldest.hash().hex().upper() if oldest else "",
            "earliest_app_hash": oldest.app_hash.hex().upper() if oldest else "",
            "earliest_block_height": str(base if latest else 0),
            "earliest_block_time": json_of_time(oldest.time) if oldest else genesis_time,
            "catching_up": status.phase is Phase.REPLAYING,
        },
        "validator_info": {
            "address": status.validator_address.hex().upper(),
            "pub_key": key,
            "voting_power": str(power),
        },
    }


def _commit(api: Api, params: Mapping[str, Any]) -> dict[str, Any]:
    height = _height(api, params)
    if not height:
        raise _RpcError(_INTERNAL, "height 1 must be less than or equal to the current blockchain height 0")
    signed = _read(api, height, api.node.engine.signed_header)
    return {"signed_header": json_of_signed_header(signed), "canonical": height < api.node.engine.latest_height}


def _header(api: Api, params: Mapping[str, Any]) -> dict[str, Any]:
    height = _height(api, params)
    if not height:
        return {"header": None}
    signed = _read(api, height, api.node.engine.signed_header)
    return {"header": json_of_signed_header(signed)["header"]}


def _validators(api: Api, params: Mapping[str, Any]) -> dict[str, Any]:
    """With proposer priorities as they are: a node that joins by state sync goes on from them."""
    height = _height(api, params, ahead=1)
    if not height:
        raise _RpcError(_INTERNAL, "height 1 must be less than or equal to the current blockchain height 0")
    members = _read(api, height, api.node.engine.validators).validators
    priorities = _read(api, height, api.node.engine.proposer_priorities)
    size = _integer(params, "per_page")
    size = _PAGE_DEFAULT if size is None or size < 1 else min(size, _PAGE_MAX)
    pages = (len(members) - 1) // size + 1
    page = _integer(params, "page")
    page = 1 if page is None else page
    if not 1 <= page <= pages:
        raise _RpcError(_INTERNAL, f"page should be within [1, {pages}] range, given {page}")
    part = slice((page - 1) * size, page * size)
    shown = [json_of_validator(m, p) for m, p in zip(members[part], priorities[part], strict=True)]
    return {
        "block_height": str(height),
        "validators": shown,
        "count": str(len(shown)),
        "total": str(len(members)),
    }


def _consensus_params(api: Api, params: Mapping[str, Any]) -> dict[str, Any]:
    height = _height(api, params, ahead=1)
    if not height:
        raise _RpcError(_INTERNAL, "height 1 must be less than or equal to the current blockchain height 0")
    found = _read(api, height, api.node.engine.consensus_params)
    return {"block_height": str(height), "consensus_params": json_of_params(found)}


def _broadcast_evidence(api: Api, params: Mapping[str, Any]) -> dict[str, Any]:
    evidence = params.get("evidence")
    if not isinstance(evidence, Mapping):
        raise _RpcError(_PARAMS, "no evidence was provided")
    if not api.evidence.take():
        raise _RpcError(_INTERNAL, "too much evidence at once: wait a minute, or tell another node")
    digest = api.node.engine.submit_evidence(evidence)
    _log.warning("evidence of misbehaviour was handed over", hash=digest.hex())
    return {"hash": b64encode(digest).decode("ascii")}


_METHODS: Final[Mapping[str, tuple[tuple[str, ...], Callable[[Api, Mapping[str, Any]], dict[str, Any]]]]] = {
    "health": ((), _health),
    "status": ((), _status),
    "commit": (("height",), _commit),
    "header": (("height",), _header),
    "validators": (("height", "page", "per_page"), _validators),
    "consensus_params": (("height",), _consensus_params),
    "broadcast_evidence": (("evidence",), _broadcast_evidence),
}


def _failed(number: Any, error: _RpcError) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "error": error.form}


def _response(document: Any, status: int = 200) -> Response:
    return Response(json.dumps(document), status, {"Cache-Control": "no-store"}, "application/json")
