"""The REST API of a node: resources under /v1, health beside them, the page at /. One line per resource."""

from __future__ import annotations

import time
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.middleware.cors import CORSMiddleware

from althing import __version__
from althing.node.api.context import Api
from althing.node.api.gate import Gate
from althing.node.api.page import Page, static_directory
from althing.node.api.problems import RESPONSES, Problem, install_problems
from althing.node.api.readers import Readers
from althing.node.api.routes import (
    accounts,
    assets,
    batches,
    blocks,
    chain,
    cometbft,
    devices,
    events,
    governance,
    health,
    network,
    proofs,
    readings,
    refusals,
    staking,
    state,
    streams,
    transactions,
)
from althing.service.hostnames import HostNames

__all__ = ["build_app", "guarded"]

_RESOURCES: Final = (
    chain.router,
    blocks.router,
    transactions.router,
    accounts.router,
    governance.router,
    network.router,
    assets.router,
    staking.router,
    devices.router,
    streams.router,
    readings.router,
    proofs.router,
    batches.router,
    state.router,
    refusals.router,
    events.router,
)
_DESCRIPTION: Final = """
Reads and writes of one chain through one of its nodes.

Bytes in JSON are lower-case hexadecimal, addresses text (`al1…`), times RFC 3339 in UTC with up to nine digits of the
second, a stream is `<device>/<stream>`. Errors are problems (RFC 9457) with a stable `code`. Lists come in pages: `limit`,
`cursor`, and `next` in the answer. A node need not be trusted: `/v1/state` and `/v1/proofs` carry what a client needs to
check an answer against a trust file.
"""


def build_app(api: Api | None = None) -> FastAPI:
    """The application; without `api` only its description can be asked for."""
    app = FastAPI(
        title="Althing node",
        summary="REST API of an Althing node",
        description=_DESCRIPTION,
        version=__version__,
        license_info={"name": "Apache 2.0", "identifier": "Apache-2.0"},
        openapi_url="/v1/openapi.json",
        docs_url=None,  # their scripts come from elsewhere; the description itself needs none
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.api = api
    install_problems(app)
    app.router.routes.append(transactions.DirectSubmit())
    for resource in _RESOURCES:
        app.include_router(resource, responses=RESPONSES)
    app.include_router(health.router)
    app.include_router(cometbft.router)
    app.mount("/", Page(static_directory()), name="page")
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def guarded(app: FastAPI, api: Api, *, hosts: HostNames, token: str | None) -> Any:
    """The application behind its gate, as a listener serves it."""

    def observe(route: str, method: str, status: int, seconds: float) -> None:
        api.metrics.requests.labels(route, method if method in _METHODS else "other", str(status)).observe(seconds)

    readers = Readers(api.node.ledger, time.time_ns)
    gate = Gate(
        app,
        hosts=hosts,
        token=token,
        open_page=True,
        observe=observe,
        admits=readers.admits if readers.listed else None,
    )
    if not api.config.cors_origins:
        return gate
    return CORSMiddleware(
        gate,
        allow_origins=list(api.config.cors_origins),
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
        max_age=600,
    )


_METHODS: Final = frozenset(("GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH"))


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's description, with our one form of errors in place of its own."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            license_info=app.license_info,
            routes=app.routes,
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        # These are named by hand, where an answer has several forms or leaves without a model.
        _, own = models_json_schema(
            [(model, "serialization") for model in (Problem, proofs.ProofAnswer, transactions.SubmitAnswer)],
            ref_template="#/components/schemas/{model}",
        )
        schemas.update(own["$defs"])
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for path in document["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{}, {"token": []}]
        app.openapi_schema = document
    return app.openapi_schema
