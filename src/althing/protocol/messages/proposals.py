"""Messages and records of proposals: governors vote on a list of governance messages (docs/spec/messages.md §2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from althing.protocol.codec import encode
from althing.protocol.hashing import sha256
from althing.protocol.messages.governance import ORGANISATIONS_MAX
from althing.protocol.record import ADDRESS, BOOL, HASH, UINT, Record, array, blob, integer, of, text

__all__ = [
    "MESSAGES",
    "PROPOSALS_MAX",
    "PROPOSALS_OF_ONE_MAX",
    "PROPOSAL_BYTES_MAX",
    "PROPOSAL_MESSAGES_MAX",
    "PROPOSAL_S_MAX",
    "Proposal",
    "Propose",
    "Vote",
    "Withdraw",
    "proposal_content",
]

PROPOSALS_MAX: Final = 64  # open at one time
PROPOSALS_OF_ONE_MAX: Final = 4  # of one organisation: sixteen members must conspire to leave no room
PROPOSAL_MESSAGES_MAX: Final = 16
PROPOSAL_BYTES_MAX: Final = 8192  # its decision fits in what every governor can pay (docs/spec/messages.md, "Operable")
PROPOSAL_S_MAX: Final = 90 * 86_400

MESSAGE: Final = blob(1, PROPOSAL_BYTES_MAX)  # encoded [type, fields]: the rules in force say which types there are
TITLE: Final = text(1, 256)
VOTES: Final = array(ADDRESS, ORGANISATIONS_MAX)


@dataclass(frozen=True, slots=True)
class Propose(Record):
    """A governor proposes decisions, which take effect together, in order, once as many governors agree as must sign.

    Every governor among the signers agrees with it. `expires` is ledger time in seconds.
    """

    TYPE: ClassVar[str] = "governance.propose"
    organisation: bytes = of(ADDRESS)
    title: str = of(TITLE)
    expires: int = of(UINT)
    messages: tuple[bytes, ...] = of(array(MESSAGE, PROPOSAL_MESSAGES_MAX, 1))


@dataclass(frozen=True, slots=True)
class Vote(Record):
    """A governor agrees or disagrees. `content` is the hash of what it has read: no node can show it something else."""

    TYPE: ClassVar[str] = "governance.vote"
    organisation: bytes = of(ADDRESS)
    proposal: int = of(UINT)
    content: bytes = of(HASH)
    agree: bool = of(BOOL)


@dataclass(frozen=True, slots=True)
class Withdraw(Record):
    """Who proposed it takes it back."""

    TYPE: ClassVar[str] = "governance.withdraw"
    proposal: int = of(UINT)


@dataclass(frozen=True, slots=True)
class Proposal(Record):
    """An open proposal with its votes, each list in ascending order."""

    version: int = of(integer(1, 1))
    number: int = of(UINT)
    organisation: bytes = of(ADDRESS)
    title: str = of(TITLE)
    opened_at: int = of(UINT)
    expires: int = of(UINT)
    messages: tuple[bytes, ...] = of(array(MESSAGE, PROPOSAL_MESSAGES_MAX, 1))
    agree: tuple[bytes, ...] = of(VOTES)
    disagree: tuple[bytes, ...] = of(VOTES)

    @property
    def content(self) -> bytes:
        """What a vote names: see `proposal_content`."""
        return proposal_content(self.number, self.organisation, self.title, self.expires, self.messages)


def proposal_content(number: int, organisation: bytes, title: str, expires: int, messages: tuple[bytes, ...]) -> bytes:
    """SHA-256 of the deterministic CBOR of all that does not change while it is voted on."""
    return sha256(encode([number, organisation, title, expires, list(messages)]))


MESSAGES: Final = (Propose, Vote, Withdraw)
