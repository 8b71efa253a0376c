"""Who may read a private chain here: accounts of its organisation and the readers it lists, as the ledger has them now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from althing.ledger.app import Ledger
from althing.ledger.modules.governance.state import ORGANISATIONS
from althing.ledger.modules.identity.state import ACCOUNTS
from althing.ledger.query import LedgerView
from althing.protocol.address import key_id
from althing.protocol.errors import ProtocolError
from althing.protocol.messages.governance import PrivateChain
from althing.protocol.messages.identity import AccountKind, AccountStatus
from althing.protocol.readticket import is_read_ticket, parse_read_ticket
from althing.protocol.signatures import verify

__all__ = ["Readers"]

_CLOCK_DRIFT_S: Final = 60  # of a reader's clock against the node's


class Readers:
    """Judges reading tickets by the latest state, so whoever is struck off reads no more from the next block on."""

    def __init__(self, ledger: Ledger, clock: Callable[[], int]) -> None:
        """`clock` gives nanoseconds."""
        self._ledger = ledger
        self._clock = clock
        self.listed = isinstance(ledger.genesis.kind, PrivateChain)  # on other chains everybody reads

    def admits(self, credential: str) -> bool:
        """True for a ticket that an active account of the chain, no device, has signed with a key in force."""
        if not is_read_ticket(credential):
            return False
        try:
            ticket = parse_read_ticket(credential, self._ledger.genesis_hash)
        except ProtocolError:
            return False
        now = self._clock() // 1_000_000_000
        if not ticket.issued - _CLOCK_DRIFT_S <= now < ticket.expires:
            return False
        view = LedgerView(self._ledger.store)
        account = ACCOUNTS.get(view, ticket.account)
        if account is None or account.status != AccountStatus.ACTIVE or account.kind == AccountKind.DEVICE:
            return False
        member = ORGANISATIONS.get(view, account.organisation)
        if member is None or member.suspended:
            return False
        signature = ticket.signature
        return any(
            entry.active_at(now)
            and entry.key.suite == signature.suite
            and key_id(entry.key.suite, entry.key.public) == signature.kid
            and verify(entry.key.suite, entry.key.public, signature.signed, signature.value)
            for entry in account.keys
        )
