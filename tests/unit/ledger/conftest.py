"""What the ledger's tests share: a chain in process with three organisations, their accounts, and a device."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import pytest

from althing.ledger.query import LedgerView
from althing.protocol.catalog import MessageBody
from althing.protocol.messages.devices import RegisterDevice
from althing.protocol.messages.governance import AdmitOrganisation, GenesisOrganisation, Quota
from althing.protocol.messages.identity import Account, AccountKind, CreateAccount, Role
from althing.protocol.messages.streams import DefineStream
from althing.protocol.receipt import Receipt
from althing.protocol.record import Record
from althing.protocol.schema import StreamSchema
from althing.testing.harness import Actor, LedgerHarness

ROOMY = Quota(2**50, 2**50)


@dataclass
class Town:
    """`acme` (governor, node, gateway) from the harness; `bolt` and `cogs` admitted, `bolt` with a node of its own."""

    chain: LedgerHarness = field(default_factory=LedgerHarness)
    bolt: Actor = field(default_factory=lambda: Actor.seeded("bolt"))
    cogs: Actor = field(default_factory=lambda: Actor.seeded("cogs"))
    bolt_node: Actor = field(default_factory=lambda: Actor.seeded("bolt node"))
    clerk: Actor = field(default_factory=lambda: Actor.seeded("clerk"))

    def __post_init__(self) -> None:
        acme = self.chain.admin
        self.ok([acme, self.bolt, self.cogs], self.admit("bolt", self.bolt), self.admit("cogs", self.cogs))
        self.ok([self.bolt, self.bolt_node], self.account(self.bolt, self.bolt_node, AccountKind.NODE, "bolt-node"))
        self.ok([acme, self.clerk], self.account(acme, self.clerk, AccountKind.PERSON, "clerk", roles=(Role.DEVICES,)))

    @staticmethod
    def admit(name: str, actor: Actor, *, governor: bool = False, quota: Quota = ROOMY) -> AdmitOrganisation:
        return AdmitOrganisation(GenesisOrganisation(name, governor, 1, (actor.public,), quota))

    @staticmethod
    def account(
        organisation: Actor, actor: Actor, kind: AccountKind, name: str, *, roles: tuple[Role, ...] = ()
    ) -> CreateAccount:
        return CreateAccount(organisation.address, kind, name, roles, 1, (actor.public,))

    def ok(self, actors: Actor | list[Actor], *messages: MessageBody) -> Receipt:
        """Run and expect success."""
        receipt = self.chain.run(actors, *messages)
        assert receipt.ok, receipt
        return receipt

    def code(self, actors: Actor | list[Actor], *messages: MessageBody) -> str:
        """Run and expect a refusal that changed nothing but what every executed transaction changes."""
        before = self.content()
        receipt = self.chain.run(actors, *messages)
        assert receipt.code
        assert not receipt.events
        assert self.content() == before
        return receipt.code

    def content(self) -> dict[bytes, bytes]:
        """The state without the runtime's own keys and the quotas."""
        entries = self.chain.ledger.store.iterate()
        return {k: v for k, v in entries if not k.startswith((b"runtime/", b"governance/quota/"))}

    @staticmethod
    def hash_of(value: Record) -> bytes:
        return sha256(value.to_bytes()).digest()

    @property
    def view(self) -> LedgerView:
        return LedgerView(self.chain.ledger.store)

    def of(self, actor: Actor) -> Account:
        return self.view.account(actor.address)

    def device(self, name: str, key: Actor | None = None) -> None:
        """Register a device of acme."""
        public = None if key is None else key.public
        signers = [self.chain.admin] if key is None else [self.chain.admin, key]
        self.ok(signers, RegisterDevice(name, self.chain.admin.address, public, None, ()))

    def stream(self, path: str, **changes: Any) -> int:
        """Define a stream of acme's, with its device where that is new; its number."""
        device, _, name = path.partition("/")
        if not any(known.name == device for known in self.view.devices(None, 1000)):
            self.device(device)
        gateway = changes.pop("gateway", self.chain.gateway).address
        self.ok(self.chain.admin, DefineStream(device, name, gateway, StreamSchema(**changes)))
        return self.view.stream(path).id


@pytest.fixture
def town() -> Town:
    return Town()


@pytest.fixture
def chain() -> LedgerHarness:
    return LedgerHarness()
