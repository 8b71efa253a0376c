"""Proposals: governors vote in ledger time, and the vote that makes as many as must sign carries the decisions out.

They run inside that vote's transaction, all or nothing. If one is refused the vote is refused with its code and the
proposal stays open as it was: nobody can spoil it by a vote with too little gas, and it can be tried again until it expires.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, cast

from althing.ledger.modules.governance.state import (
    AGENDA,
    ORGANISATIONS,
    PARAMETERS,
    PROPOSALS,
    Agenda,
    AgendaItem,
)
from althing.ledger.runtime.context import Context
from althing.ledger.runtime.errors import ModuleError
from althing.ledger.runtime.module import Handler
from althing.protocol.catalog import MessageBody, body_from_item
from althing.protocol.codec import decode
from althing.protocol.errors import ProtocolError
from althing.protocol.messages.proposals import (
    PROPOSAL_BYTES_MAX,
    PROPOSAL_S_MAX,
    PROPOSALS_MAX,
    PROPOSALS_OF_ONE_MAX,
    Proposal,
    Propose,
    Vote,
    Withdraw,
)

__all__ = ["Proposals"]

_EMPTY: Final = Agenda(0, ())


class Proposals:
    """Handlers of proposals over `decisions`: what each message does once the governors agree."""

    def __init__(self, decisions: Mapping[type, Handler]) -> None:
        self._decisions = decisions
        kinds = [cast("type[MessageBody]", kind) for kind in decisions]
        self._types = {kind.TYPE: kind for kind in kinds}
        self.handlers: Mapping[type, Handler] = {
            Propose: self._propose,
            Vote: self._vote,
            Withdraw: self._withdraw,
        }

    def drop_of(self, ctx: Context, organisation: bytes) -> None:
        """The open proposals of an organisation that leaves go with it."""
        agenda = ctx.get(AGENDA, b"") or _EMPTY
        for item in agenda.open:
            if item.organisation == organisation:
                self._close(ctx, item.number)
                ctx.emit("governance.withdrawn", item.number)

    # --- handlers -------------------------------------------------------------------------------------------------

    def _propose(self, ctx: Context, message: Propose) -> None:
        self._require_governor(ctx, message.organisation)
        now = ctx.block.time_s
        if not now < message.expires <= now + PROPOSAL_S_MAX:
            raise ModuleError("governance.expires", f"a proposal expires within {PROPOSAL_S_MAX} s")
        if sum(map(len, message.messages)) > PROPOSAL_BYTES_MAX:
            raise ModuleError("governance.proposal_size", f"its messages have at most {PROPOSAL_BYTES_MAX} bytes")
        for raw in message.messages:
            self._parse(raw)
        agenda = self._prune(ctx)
        own = sum(item.organisation == message.organisation for item in agenda.open)
        if len(agenda.open) >= PROPOSALS_MAX or own >= PROPOSALS_OF_ONE_MAX:
            raise ModuleError(
                "governance.proposals",
                f"{PROPOSALS_OF_ONE_MAX} proposals of an organisation are open at a time, {PROPOSALS_MAX} in all",
                hint="withdraw one, or wait until one expires",
            )
        item = AgendaItem(agenda.next, message.organisation, message.expires)
        ctx.put(AGENDA, b"", Agenda(agenda.next + 1, (*agenda.open, item)))
        agree = tuple(signer for signer in sorted(ctx.signers) if self._governor(ctx, signer))
        proposal = Proposal(
            1, agenda.next, message.organisation, message.title, now, message.expires, message.messages, agree, ()
        )
        ctx.emit("governance.proposed", proposal.number, proposal.organisation, proposal.content)
        self._count(ctx, proposal)

    def _vote(self, ctx: Context, message: Vote) -> None:
        self._require_governor(ctx, message.organisation)
        self._prune(ctx)
        proposal = self._open(ctx, message.proposal)
        if proposal.content != message.content:
            raise ModuleError("governance.content", "the vote is for another content", hint="read the proposal again")
        voter = message.organisation
        agree = [one for one in proposal.agree if one != voter]
        disagree = [one for one in proposal.disagree if one != voter]
        (agree if message.agree else disagree).append(voter)
        ctx.emit("governance.voted", proposal.number, voter, message.agree)
        self._count(ctx, replace(proposal, agree=tuple(sorted(agree)), disagree=tuple(sorted(disagree))))

    def _withdraw(self, ctx: Context, message: Withdraw) -> None:
        proposal = self._open(ctx, message.proposal)
        if proposal.organisation not in ctx.signers:
            raise ModuleError("auth.account", "only who proposed it withdraws a proposal")
        self._prune(ctx)
        self._close(ctx, proposal.number)
        ctx.emit("governance.withdrawn", proposal.number)

    # --- counting -------------------------------------------------------------------------------------------------

    def _count(self, ctx: Context, proposal: Proposal) -> None:
        parameters = ctx.get(PARAMETERS, b"")
        assert parameters is not None, "genesis writes the parameters"
        governors = {address for address, member in ctx.scan(ORGANISATIONS) if member.governor and not member.suspended}
        # Votes of organisations that are no longer governors stay on record and do not count.
        if len(governors.intersection(proposal.agree)) >= parameters.governors_threshold:
            self._close(ctx, proposal.number)
            for raw in proposal.messages:
                body = self._parse(raw)
                self._decisions[type(body)](ctx, body)
            ctx.emit("governance.executed", proposal.number)
        elif len(governors.difference(proposal.disagree)) < parameters.governors_threshold:
            self._close(ctx, proposal.number)
            ctx.emit("governance.rejected", proposal.number)
        else:
            ctx.gas.charge(ctx.gas.prices.byte * len(proposal.to_bytes()))
            ctx.put(PROPOSALS, _own(proposal.number), proposal)

    def _parse(self, raw: bytes) -> MessageBody:
        try:
            return body_from_item(decode(raw, bytes_max=PROPOSAL_BYTES_MAX), self._types)
        except ProtocolError as exc:
            # One code for every fault of form: which a decoder meets first is not the same everywhere.
            raise ModuleError("governance.message", "a proposed message is not a decision of these rules") from exc

    def _open(self, ctx: Context, number: int) -> Proposal:
        found = ctx.get(PROPOSALS, _own(number))
        if found is None or found.expires <= ctx.block.time_s:
            raise ModuleError("governance.proposal", "there is no such open proposal", hint="althing gov list")
        return found

    def _prune(self, ctx: Context) -> Agenda:
        """The agenda without what has expired: at most PROPOSALS_MAX records go."""
        agenda = ctx.get(AGENDA, b"") or _EMPTY
        left = tuple(item for item in agenda.open if item.expires > ctx.block.time_s)
        if len(left) == len(agenda.open):
            return agenda
        for item in agenda.open:
            if item.expires <= ctx.block.time_s:
                ctx.delete(PROPOSALS, _own(item.number))
        agenda = replace(agenda, open=left)
        ctx.put(AGENDA, b"", agenda)
        return agenda

    def _close(self, ctx: Context, number: int) -> None:
        agenda = ctx.get(AGENDA, b"")
        assert agenda is not None, "an open proposal is on the agenda"
        ctx.put(AGENDA, b"", replace(agenda, open=tuple(item for item in agenda.open if item.number != number)))
        ctx.delete(PROPOSALS, _own(number))

    def _governor(self, ctx: Context, organisation: bytes) -> bool:
        member = ctx.get(ORGANISATIONS, organisation)
        return member is not None and member.governor and not member.suspended

    def _require_governor(self, ctx: Context, organisation: bytes) -> None:
        if organisation not in ctx.signers or not self._governor(ctx, organisation):
            raise ModuleError("auth.governors", "only a governor that signs proposes and votes")


def _own(number: int) -> bytes:
    return number.to_bytes(8, "big")
