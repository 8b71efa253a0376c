"""The nodes a gateway asks, none of which is trusted: in which order, which are avoided, and when a refusal is believed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import structlog

from althing.client.errors import LyingNodeError, NodeError, RefusedTransactionError
from althing.client.sending import Sender
from althing.client.transport import Transport
from althing.client.verified import VerifiedReader
from althing.gateway.errors import LedgerError, LedgerRefusedError
from althing.gateway.ledger import Said
from althing.light.blocks import LightBlock
from althing.light.errors import ExpiredError
from althing.protocol.errors import AlthingError
from althing.protocol.trust import Trust

__all__ = ["AskedNode", "Nodes"]

_log = structlog.get_logger("althing.gateway.ledger")

_SHUN_S: Final = 300.0  # how long a node that lied is asked only when no other answers
_BEHIND_ATTEMPTS: Final = 120  # of 25 ms: a block is proved by the next one, which follows at once
_ANSWER_BYTES_MAX: Final = (
    32 * 1024 * 1024
)  # a proof, a light block, or the state of a look; a node is not trusted with more

T = TypeVar("T")


class AskedNode:
    """One node, with a connection of its own: what is asked of it cannot reach another. What is proved is shared."""

    def __init__(
        self,
        url: str,
        trust: Trust,
        first: AskedNode | None,
        timeout_s: float,
        token: str,
        verify: Any,
        newest: LightBlock | None,
        trusting_period_s: int,
    ):
        self.transport = Transport(
            [url], timeout_s=timeout_s, token=token, verify=verify, reads_max=1, answer_bytes_max=_ANSWER_BYTES_MAX
        )
        if first is None:
            self.reader = VerifiedReader(
                self.transport,
                trust,
                attempts=_BEHIND_ATTEMPTS,
                newest=newest,
                trusting_period_s=trusting_period_s,
            )
        else:
            self.reader = first.reader.through(self.transport)
        # Not tried again here: the next node may take it.
        self.sender = Sender(self.transport, trust.genesis_hash, patience_s=0)
        self.shunned_until = 0.0

    @property
    def url(self) -> str:
        return self.transport.url


class Nodes:
    """`urls` in turn; a node that fails, refuses what another grants, or lies is left for the next one.

    `newest` and `trusting_period_s` as in VerifiedReader.
    """

    def __init__(
        self,
        urls: Sequence[str],
        trust: Trust,
        *,
        timeout_s: float,
        token: str = "",
        verify: Any = True,
        newest: LightBlock | None = None,
        trusting_period_s: int = 0,
    ):
        self._turn: list[AskedNode] = []
        for url in dict.fromkeys(urls):
            first = self._turn[0] if self._turn else None
            self._turn.append(AskedNode(url, trust, first, timeout_s, token, verify, newest, trusting_period_s))
        self._used: dict[Said, AskedNode] = {}  # by which node something was said that can prove false later
        self.lies_total = 0

    async def aclose(self) -> None:
        for node in self._turn:
            await node.sender.aclose()
            await node.transport.aclose()

    @property
    def order(self) -> list[AskedNode]:
        """All nodes as they are asked now: those that lied lately are the last."""
        now = asyncio.get_running_loop().time()
        return sorted(self._turn, key=lambda node: node.shunned_until > now)

    async def ask(self, action: Callable[[AskedNode], Awaitable[T]], said: Said | None = None) -> T:
        """What the first node says that answers and does not lie, each being asked once.

        A refusal is only a node's word: it is believed (RefusedTransactionError, LedgerRefusedError) when no other node
        grants what was asked. Where nothing can be refused it is a failure like others.
        """
        failures: list[str] = []
        refusals: list[tuple[AskedNode, AlthingError]] = []
        for node in self.order:
            if said is not None:
                self._used[said] = node
            try:
                found = await action(node)
            except ExpiredError as error:
                raise LedgerError(
                    "ledger.expired",
                    f"{error.message}: it cannot be told any more which chain is the right one",
                    hint="put a newer trust file from somebody you trust in the home: althing trust show",
                ) from error
            except LyingNodeError as error:
                self.shun(node, error.message)
                failures.append(f"{node.url}: {error.message}")
            except RefusedTransactionError as error:
                if error.code == "tx.pending":
                    # It may be on its way. If the node keeps it back, the next try goes to another.
                    self.leave(node)
                    raise
                refusals.append((node, error))
            except AlthingError as error:
                if said is not None and isinstance(error, NodeError) and _refuses(error.status):
                    code = "ledger.not_found" if error.status == 404 else error.code
                    refusals.append((node, LedgerRefusedError(code, error.message, hint=error.hint)))
                    continue
                self.leave(node)
                failures.append(f"{node.url}: {error.code} {error.message}")
            else:
                for refusing, refusal in refusals:
                    _log.warning("a node refuses what another grants", node=refusing.url, code=refusal.code)
                    self.leave(refusing)
                return found
        if refusals:
            raise refusals[0][1]
        raise LedgerError(
            "ledger.unavailable",
            f"no node answers: {'; '.join(failures)}",
            hint="start a node, or name another under [gateway] nodes in config.toml",
        )

    def turn(self) -> None:
        """Another node first."""
        self._turn.append(self._turn.pop(0))

    def leave(self, node: AskedNode) -> None:
        """Ask it last from now on."""
        self._turn.remove(node)
        self._turn.append(node)

    def shun(self, node: AskedNode, reason: str) -> None:
        self.lies_total += 1
        node.shunned_until = asyncio.get_running_loop().time() + _SHUN_S
        _log.error("a node lies", code="node.lied", node=node.url, reason=reason)
        self.leave(node)

    def use(self, said: Said) -> AskedNode:
        """The node in use, noted as the one that said it."""
        node = self._used[said] = self.order[0]
        return node

    def doubt(self, said: Said, reason: str) -> None:
        self.shun(self._used.get(said) or self.order[0], reason)


def _refuses(status: int) -> bool:
    """An answer to what was asked, not the refusal to talk to this gateway or to anybody now."""
    return 400 <= status < 500 and status not in (401, 403, 429)
