"""Transactions: sent in, listed newest first, and one with its receipt.

`POST /transactions` is the way of every write, with thousands in one request: no models there, bytes in and bytes out.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Annotated, Any, Final, Literal

import cbor2
from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from althing.ledger.query import find_transaction
from althing.node.api.context import Api, Context
from althing.node.api.eventfields import event_json
from althing.node.api.limits import BODY_BYTES_MAX, PAGE_DEFAULT, TRANSACTIONS_MAX, WAIT_S_DEFAULT, WAIT_S_MAX
from althing.node.api.paging import Cursor, Limit, parse_cursor, write_cursor
from althing.node.api.problems import ParameterError, TooLargeError
from althing.node.api.render import plain, time_of_s
from althing.node.api.routes.chain import CBOR
from althing.node.submission import TxAnswer
from althing.protocol.address import format_address
from althing.protocol.catalog import MessageBody
from althing.protocol.codec import decode
from althing.protocol.errors import EncodingError, ProtocolError
from althing.protocol.receipt import Receipt
from althing.protocol.transaction import SignedTransaction, parse_transaction

__all__ = [
    "DirectSubmit",
    "EventAnswer",
    "ReceiptAnswer",
    "SubmitAnswer",
    "SubmitResult",
    "TransactionAnswer",
    "TransactionSummary",
    "TransactionsPage",
    "router",
    "submit",
    "transaction",
    "transactions",
]

router = APIRouter(prefix="/v1", tags=["transactions"])

_HINT: Final = 'send application/cbor, an array of byte strings, or JSON {"transactions": [base64, …]}'


class SubmitResult(BaseModel):
    """What became of one transaction. An empty `code` is accepted or, with wait=commit, committed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f",
                    "code": "",
                    "message": "",
                    "height": 42,
                    "receipt": "8501",
                }
            ]
        }
    )

    id: str
    code: str = Field(description="Why it was refused; tx.pending when the time ran out; empty otherwise")
    message: str
    height: int | None
    receipt: str | None = Field(description="The encoded receipt, hexadecimal; its code tells the outcome of execution")


class SubmitAnswer(BaseModel):
    results: list[SubmitResult] = Field(description="One each, in the order sent")


class TransactionSummary(BaseModel):
    """An executed transaction in a list."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f",
                    "height": 42,
                    "bundle": 0,
                    "index": 0,
                    "code": "",
                    "gas_used": 2016,
                    "messages": ["streams.anchor"],
                    "signers": ["al1stecpf6y4j4dm8musms7c2j3hy2sa52cgxy4es"],
                }
            ]
        }
    )

    id: str
    height: int
    bundle: int = Field(description="Which item of the block")
    index: int = Field(description="Which transaction of the bundle")
    code: str = Field(description="Empty for success")
    gas_used: int
    messages: list[str] = Field(description="Types of its messages", examples=[["streams.anchor"]])
    signers: list[str]


class TransactionsPage(BaseModel):
    transactions: list[TransactionSummary]
    next: str | None


class EventAnswer(BaseModel):
    name: str = Field(examples=["devices.registered"])
    data: dict[str, Any]


class ReceiptAnswer(BaseModel):
    code: str
    gas_used: int
    events: list[EventAnswer]


class TransactionAnswer(BaseModel):
    id: str
    height: int
    bundle: int
    index: int
    receipt: ReceiptAnswer
    transaction: dict[str, Any] | None = Field(
        description="The payload's fields, and the messages with their types; null when it could not be read"
    )
    bytes: str = Field(description="The signed envelope, hexadecimal")


_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}


@router.post(
    "/transactions",
    response_class=Response,
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": f"Signed transactions, at most {TRANSACTIONS_MAX}: a CBOR array of byte strings, or base64 in JSON",
            "content": {
                CBOR: _BINARY,
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["transactions"],
                        "properties": {
                            "transactions": {
                                "type": "array",
                                "maxItems": TRANSACTIONS_MAX,
                                "items": {"type": "string", "contentEncoding": "base64"},
                            }
                        },
                    }
                },
            },
        }
    },
    responses={
        200: {
            "description": "What became of each, in the order sent. One bad transaction does not refuse the rest. "
            "As CBOR: an array of [id, code, message, height or null, receipt or null]",
            "content": {CBOR: _BINARY, "application/json": {"schema": {"$ref": "#/components/schemas/SubmitAnswer"}}},
        },
        413: {"description": "More than one request may carry"},
    },
)
async def submit(
    request: Request,
    api: Context,
    wait: Annotated[Literal["commit", "check"], Query(description="Answer after the block, or after admission")] = (
        "commit"
    ),
    timeout_s: Annotated[int, Query(ge=0, le=WAIT_S_MAX)] = WAIT_S_DEFAULT,
) -> Response:
    """Send signed transactions. Sending one again is safe: it executes once, and its receipt is the answer."""
    return await _submitted(request, api, wait=wait == "commit", timeout_s=timeout_s)


async def _submitted(request: Request, api: Api, *, wait: bool, timeout_s: int) -> Response:
    transactions = _transactions(request.headers.get("content-type", ""), await request.body())
    answers = await api.node.submission.submit(transactions, wait=wait, timeout_s=timeout_s)
    if CBOR in request.headers.get("accept", ""):
        items = [(a.tx_id, a.code, a.message, a.height, a.receipt) for a in answers]
        return Response(cbor2.dumps(items), media_type=CBOR)
    return Response(json.dumps({"results": [_result(answer) for answer in answers]}), media_type="application/json")


_PLAIN_QUERY: Final = re.compile(rb"wait=(commit|check)&timeout_s=([0-9]{1,4})")


class DirectSubmit(BaseRoute):
    """`submit` as clients ask for it in general, past the framework's reading of parameters, which takes longer than a
    transaction's execution. Stands before the routes; a query of any other form is for `submit` itself to judge."""

    def __init__(self) -> None:
        self.path = "/v1/transactions"  # by which the duration is measured, as `submit`

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != self.path:
            return Match.NONE, {}
        query = scope["query_string"]
        plain = _PLAIN_QUERY.fullmatch(query)
        if query and (plain is None or int(plain[2]) > WAIT_S_MAX):
            return Match.NONE, {}
        wait, timeout_s = (True, WAIT_S_DEFAULT) if plain is None else (plain[1] == b"commit", int(plain[2]))
        return Match.FULL, {"route": self, "endpoint": submit, "wait": wait, "timeout_s": timeout_s}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        api = request.app.state.api
        response = await _submitted(request, api, wait=scope["wait"], timeout_s=scope["timeout_s"])
        await response(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> Any:
        raise NoMatchFound(name, path_params)


@router.get("/transactions", response_model=TransactionsPage)
async def transactions(api: Context, limit: Limit = PAGE_DEFAULT, cursor: Cursor = None) -> TransactionsPage:
    """Executed transactions, newest first."""
    return await api.reads.state(_page, api, limit, parse_cursor("transactions", cursor, int, int, int))


@router.get("/transactions/{id}", response_model=TransactionAnswer)
async def transaction(api: Context, id: Annotated[str, Path(pattern="^[0-9a-f]{64}$")]) -> TransactionAnswer:
    """One executed transaction with its receipt."""
    return await api.reads.state(_one, api, bytes.fromhex(id))


_LONG_ARRAYS: Final = (b"\x9a", b"\x9b")  # heads of arrays with more than 65,535 items


def _transactions(content_type: str, body: bytes) -> list[bytes]:
    kind = content_type.partition(";")[0].strip().lower()
    if kind == CBOR:
        if body[:1] in _LONG_ARRAYS:  # before millions of items are read
            raise _too_many()
        try:
            found = decode(body, bytes_max=BODY_BYTES_MAX, depth_max=1)
        except EncodingError as exc:
            raise ParameterError("api.body", f"the body is no array in CBOR: {exc.message}", hint=_HINT) from exc
    elif kind == "application/json":
        try:
            found = [base64.b64decode(text, validate=True) for text in json.loads(body)["transactions"]]
        except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as exc:
            raise ParameterError("api.body", "the body is not of the form", hint=_HINT) from exc
    else:
        raise ParameterError("api.body", "the body's content type is not known here", hint=_HINT)
    if type(found) is not list or not found or any(type(item) is not bytes for item in found):
        raise ParameterError("api.body", "the body is not an array of byte strings", hint=_HINT)
    if len(found) > TRANSACTIONS_MAX:
        raise _too_many()
    return found


def _too_many() -> TooLargeError:
    return TooLargeError("api.too_large", f"a request has at most {TRANSACTIONS_MAX} transactions")


def _result(answer: TxAnswer) -> dict[str, Any]:
    return {
        "id": answer.tx_id.hex(),
        "code": answer.code,
        "message": answer.message,
        "height": answer.height,
        "receipt": None if answer.receipt is None else answer.receipt.hex(),
    }


def _page(api: Api, limit: int, position: list[Any] | None) -> TransactionsPage:
    api.indexer.current()
    top = api.indexer.height if position is None else position[0]
    found: list[TransactionSummary] = []
    # One height may be the cursor's own with nothing left of it, and one more tells that there is a next page.
    for height, _count in api.indexer.work_heights(top, limit + 2):
        receipts = api.contents.receipts(height)
        for bundle in range(len(receipts) - 1, -1, -1):
            for index in range(len(receipts[bundle]) - 1, -1, -1):
                if position is not None and [height, bundle, index] >= position:
                    continue
                if len(found) == limit:
                    last = found[-1]
                    after = write_cursor("transactions", last.height, last.bundle, last.index)
                    return TransactionsPage(transactions=found, next=after)
                found.append(_summary(api, height, bundle, index, receipts[bundle][index]))
    return TransactionsPage(transactions=found, next=None)


def _summary(api: Api, height: int, bundle: int, index: int, data: bytes) -> TransactionSummary:
    receipt = Receipt.from_bytes(data)
    signed = _signed(api, height, bundle, index)[0]
    return TransactionSummary(
        id=receipt.tx_id.hex(),
        height=height,
        bundle=bundle,
        index=index,
        code=receipt.code,
        gas_used=receipt.gas_used,
        messages=[] if signed is None else [message.TYPE for message in signed.transaction.messages],
        signers=[] if signed is None else [format_address(signer) for signer in signed.transaction.signers],
    )


def _signed(api: Api, height: int, bundle: int, index: int) -> tuple[SignedTransaction | None, bytes]:
    """A transaction of a block, taken apart; None for bytes that are no transaction, which have a receipt all the same."""
    data = api.contents.inner(height, bundle)[index]
    try:
        return parse_transaction(data, api.node.ledger.genesis_hash), data
    except ProtocolError:
        return None, data


def _one(api: Api, tx_id: bytes) -> TransactionAnswer:
    place = find_transaction(api.node.ledger.store, tx_id)
    receipt = Receipt.from_bytes(api.contents.receipts(place.height)[place.bundle][place.index])
    signed, data = _signed(api, place.height, place.bundle, place.index)
    return TransactionAnswer(
        id=tx_id.hex(),
        height=place.height,
        bundle=place.bundle,
        index=place.index,
        receipt=ReceiptAnswer(
            code=receipt.code,
            gas_used=receipt.gas_used,
            events=[
                EventAnswer(name=event.name, data=event_json(event.name, event.values)) for event in receipt.events
            ],
        ),
        transaction=None if signed is None else _readable(signed),
        bytes=data.hex(),
    )


def _readable(signed: SignedTransaction) -> dict[str, Any]:
    body = signed.transaction
    return {
        "signers": plain(body.signers),
        "payer": format_address(body.payer),
        "gas_limit": body.gas_limit,
        "fee": body.fee,
        "expiry": time_of_s(body.expiry),
        "nonce": body.nonce.hex(),
        "messages": [_message(message) for message in body.messages],
    }


def _message(message: MessageBody) -> dict[str, Any]:
    return {"type": message.TYPE, **plain(message)}
