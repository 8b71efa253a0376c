"""Many transactions in flight: signed here, packed into few requests, each answered with its own receipt."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import cbor2

from althing.client.errors import NodeError, RefusedTransactionError
from althing.client.transport import Transport
from althing.protocol.address import address_of_key
from althing.protocol.catalog import MessageBody
from althing.protocol.errors import AlthingError, ProtocolError, UnavailableError
from althing.protocol.limits import NONCE_BYTES
from althing.protocol.receipt import Receipt
from althing.protocol.refusals import meaning_of
from althing.protocol.signatures import PrivateKey
from althing.protocol.transaction import Transaction, sign_transaction

__all__ = ["GAS_LIMIT", "LIFETIME_S", "Committed", "Sender", "Signer", "co_signed"]

PACK_MAX: Final = 512  # transactions in one request: while the node has some, the next are signed here
PACK_BYTES_MAX: Final = 8 * 1024 * 1024
REQUESTS_MAX: Final = 8  # requests under way at once
GAS_LIMIT: Final = 20_000_000
# Where gas costs money the limit is what is paid: enough for what a message of this size can do, and not more.
PAID_GAS: Final = 300_000
PAID_GAS_A_BYTE: Final = 100
LIFETIME_S: Final = 300
WAIT_S: Final = 60


@dataclass(frozen=True, slots=True)
class Signer:
    """An account and the keys that sign for it."""

    address: bytes
    keys: tuple[PrivateKey, ...]


def co_signed(signer: Signer, key: PrivateKey | None) -> tuple[Signer, ...]:
    """The signers of a registration: with its own key at hand the new account proves that it has it."""
    return (signer,) if key is None else (signer, Signer(address_of_key(key.suite, key.public), (key,)))


@dataclass(frozen=True, slots=True)
class Committed:
    """A transaction in a block."""

    tx_id: bytes
    height: int
    receipt: Receipt


class Sender:
    """Queues signed transactions and sends what has gathered whenever a request is free."""

    def __init__(self, transport: Transport, genesis_hash: bytes, *, patience_s: float = WAIT_S) -> None:
        """For `patience_s` a request that no node takes is sent again."""
        self._transport = transport
        self._patience_s = patience_s
        self._genesis_hash = genesis_hash
        self._queue: deque[tuple[bytes, asyncio.Future[Committed]]] = deque()
        self._requests: set[asyncio.Task[None]] = set()
        self.gas_price = 0  # what the chain asks for a unit of gas, once it has been asked for
        self.height = 0  # of the newest block with a transaction sent here

    async def aclose(self) -> None:
        for task in tuple(self._requests):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def sign(
        self,
        signers: Sequence[Signer],
        messages: Sequence[MessageBody],
        *,
        gas_limit: int | None = None,
        fee: int | None = None,
    ) -> bytes:
        """A signed transaction of `messages`; the first signer pays, `gas_price` for each unit of the gas limit."""
        if gas_limit is None:
            size = sum(len(cbor2.dumps(message.to_item())) for message in messages) if self.gas_price else 0
            gas_limit = min(GAS_LIMIT, PAID_GAS + PAID_GAS_A_BYTE * size) if self.gas_price else GAS_LIMIT
        if fee is None:
            fee = gas_limit * self.gas_price
        transaction = Transaction(
            signers=tuple(sorted(signer.address for signer in signers)),
            payer=signers[0].address,
            gas_limit=gas_limit,
            fee=fee,
            expiry=int(time.time()) + LIFETIME_S,
            nonce=secrets.token_bytes(NONCE_BYTES),
            messages=tuple(messages),
        )
        return sign_transaction(transaction, [key for signer in signers for key in signer.keys], self._genesis_hash)

    def send(self, signed: bytes) -> asyncio.Future[Committed]:
        """Queue a signed transaction; the future gives its receipt, or RefusedTransactionError."""
        future: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        self._queue.append((signed, future))
        if len(self._requests) < REQUESTS_MAX:
            task = asyncio.create_task(self._drain())
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)
        return future

    async def _drain(self) -> None:
        # One turn of the loop lets a burst of `send` gather into one request.
        await asyncio.sleep(0)
        while self._queue:
            pack: list[tuple[bytes, asyncio.Future[Committed]]] = []
            size = 0
            while self._queue and len(pack) < PACK_MAX and size < PACK_BYTES_MAX:
                item = self._queue.popleft()
                size += len(item[0])
                pack.append(item)
            await self._send_pack(pack)

    async def _send_pack(self, pack: list[tuple[bytes, asyncio.Future[Committed]]]) -> None:
        body = cbor2.dumps([signed for signed, _ in pack])
        try:
            answers = await self._post_until_taken(body)
            if type(answers) is not list or len(answers) != len(pack):
                raise NodeError("node.answer", "the node did not answer every transaction", status=502)
            for (_, future), answer in zip(pack, answers, strict=True):
                self._settle(future, answer)
        except AlthingError as exc:
            for _, future in pack:
                if not future.done():
                    future.set_exception(exc)
        except Exception as exc:  # noqa: BLE001 -- a fault of the program: who waits is told, the next pack goes on
            for _, future in pack:
                if not future.done():
                    future.set_exception(exc)
        finally:
            for _, future in pack:
                if not future.done():
                    future.cancel()

    async def _post_until_taken(self, body: bytes) -> object:
        """Sending again is safe: a transaction executes once, whatever happens to requests."""
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                return await self._transport.post_cbor(
                    "/v1/transactions", body, {"wait": "commit", "timeout_s": WAIT_S}, timeout_s=WAIT_S + 15
                )
            except UnavailableError as exc:
                if time.monotonic() + exc.retry_after_s > deadline:
                    raise
                await asyncio.sleep(exc.retry_after_s)

    def _settle(self, future: asyncio.Future[Committed], answer: object) -> None:
        if future.done():
            return
        match answer:
            case [bytes() as tx_id, "", str(), int() as height, bytes() as data]:
                try:
                    receipt = Receipt.from_bytes(data)
                except ProtocolError:
                    future.set_exception(NodeError("node.answer", "a receipt is not of the form", status=502))
                    return
                if receipt.ok:
                    self.height = max(self.height, height)
                    future.set_result(Committed(tx_id, height, receipt))
                else:
                    meaning = meaning_of(receipt.code)
                    message = f"{meaning.sentence} (refused in block {height})"
                    refusal = RefusedTransactionError(receipt.code, message, tx_id, hint=meaning.hint)
                    future.set_exception(refusal)
            case [bytes() as tx_id, str() as code, str() as message, *_]:
                found = code or "tx.pending"
                meaning = meaning_of(found)
                text = message or meaning.sentence
                future.set_exception(RefusedTransactionError(found, text, tx_id, hint=meaning.hint))
            case _:
                future.set_exception(NodeError("node.answer", "an answer is not of the form", status=502))
