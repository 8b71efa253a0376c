"""Reads of committed state at one version, typed and with proofs. Safe from any thread, also while blocks commit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from althing.ledger.modules.assets.state import BALANCES, ESCROWS, UNITS, own_balance, own_escrow
from althing.ledger.modules.devices.state import DEVICES
from althing.ledger.modules.governance.state import (
    CONDUCT,
    KIND,
    NAMES,
    OFFENCES,
    ORGANISATIONS,
    PARAMETERS,
    PROPOSALS,
    UPGRADE,
    VALIDATORS,
    VERSIONS,
    Offence,
    Versions,
)
from althing.ledger.modules.identity.state import ACCOUNTS, ATTRIBUTES
from althing.ledger.modules.staking.state import CHAIN as STAKED_CHAIN
from althing.ledger.modules.staking.state import PARAMETERS as STAKING
from althing.ledger.modules.staking.state import STAKES, UNBONDINGS, StakedChain
from althing.ledger.modules.streams.state import (
    COUNT,
    DEFINITIONS,
    GATEWAYS,
    HEADS,
    NUMBERS,
    SCHEMAS,
    log_name,
    own_number,
)
from althing.ledger.retention import receipts_from
from althing.ledger.runtime import logs
from althing.ledger.runtime.errors import NotFoundError, PrunedError
from althing.ledger.runtime.headers import HEADER_LOG, HEADERS
from althing.ledger.runtime.overlay import R, Table
from althing.ledger.runtime.replay import EXECUTED, Location
from althing.ledger.state.store import StateStore
from althing.ledger.state.view import StateView
from althing.protocol.address import format_address, is_name
from althing.protocol.limits import INT_MAX, NAME_CHARS_MAX
from althing.protocol.messages.assets import Balance, Escrow, Unit
from althing.protocol.messages.devices import Device
from althing.protocol.messages.governance import Organisation, Parameters, Upgrade, Validator
from althing.protocol.messages.identity import Account
from althing.protocol.messages.proposals import Proposal
from althing.protocol.messages.staking import Stake, StakingParameters, Unbonding
from althing.protocol.messages.streams import AnchorRow, GatewayHead, StreamDefinition, StreamHead
from althing.protocol.record import Record
from althing.protocol.stateproof import AbsenceProof, PresenceProof

__all__ = ["LedgerView", "RowProof", "StateAnswer", "find_transaction"]


@dataclass(frozen=True, slots=True)
class StateAnswer:
    """A state key's value, or None, with the proof of presence or absence at `version`."""

    version: int
    key: bytes
    value: bytes | None
    proof: PresenceProof | AbsenceProof


@dataclass(frozen=True, slots=True)
class RowProof:
    """The ledger's part of a reading's proof, all at one version: row, its log path, the stream's head and definition."""

    row: AnchorRow
    row_bytes: bytes
    row_index: int
    row_path: tuple[bytes, ...]
    head: StateAnswer
    definition: StreamDefinition
    definition_bytes: bytes


class LedgerView:
    """The state at `version` (default: the latest). StateError `state.pruned` when that is gone."""

    def __init__(self, store: StateStore, version: int | None = None) -> None:
        self._store = store
        self._view: StateView = store.view(version)

    @property
    def version(self) -> int:
        return self._view.version

    @property
    def root(self) -> bytes:
        return self._view.root

    # --- as the runtime's typed tables read -------------------------------------------------------------------------

    def get(self, key: bytes, cls: type[R]) -> R | None:
        data = self._view.get(key)
        return None if data is None else cls.from_bytes(data)

    def scan(self, prefix: bytes, cls: type[R]) -> Iterator[tuple[bytes, R]]:
        for key, data in self._view.scan(prefix):
            yield key, cls.from_bytes(data)

    def side_get(self, table: str, key: bytes) -> bytes | None:
        with self._store.backend.read() as snapshot:
            return snapshot.get(table, key)

    def put(self, key: bytes, value: Record) -> NoReturn:
        raise AssertionError("a committed version is read only")

    def delete(self, key: bytes) -> NoReturn:
        raise AssertionError("a committed version is read only")

    def side_put(self, table: str, key: bytes, value: bytes) -> NoReturn:
        raise AssertionError("a committed version is read only")

    def prove(self, key: bytes) -> StateAnswer:
        value, proof = self._view.prove(key)
        return StateAnswer(self.version, key, value, proof)

    def page(self, table: Table[R], after: bytes | None, limit: int) -> list[tuple[bytes, R]]:
        """At most `limit` records of a table in byte order of own keys, behind own key `after`."""
        start = None if after is None else table.key(after) + b"\x00"
        found = self._view.scan(table.prefix, start=start, limit=limit)
        return [(key[len(table.prefix) :], table.cls.from_bytes(data)) for key, data in found]

    # --- governance and identity ------------------------------------------------------------------------------------

    def parameters(self) -> Parameters:
        found = PARAMETERS.get(self, b"")
        assert found is not None, "genesis writes the parameters"
        return found

    def versions(self) -> Versions:
        found = VERSIONS.get(self, b"")
        assert found is not None, "genesis writes the versions"
        return found

    def upgrade(self) -> Upgrade | None:
        return UPGRADE.get(self, b"")

    def organisations(self) -> list[Organisation]:
        return [organisation for _, organisation in ORGANISATIONS.scan(self)]

    def organisation_by_name(self, name: str) -> Organisation | None:
        owner = NAMES.get(self, name.encode("ascii")) if is_name(name) else None
        return None if owner is None else ORGANISATIONS.get(self, owner.organisation)

    def validators(self) -> list[Validator]:
        return [validator for _, validator in VALIDATORS.scan(self)]

    def offences(self) -> list[Offence]:
        """Keys that evidence convicts, in order of the engine's addresses."""
        return [offence for _, offence in OFFENCES.scan(self)]

    def deferred(self) -> tuple[bytes, ...]:
        """Convicted keys that still validate until governors decide."""
        conduct = CONDUCT.get(self, b"")
        return () if conduct is None else conduct.deferred

    def proposals(self) -> list[Proposal]:
        """Open proposals by number, and those that expired since anybody last proposed or voted."""
        return [proposal for _, proposal in PROPOSALS.scan(self)]

    def proposal(self, number: int) -> Proposal:
        found = PROPOSALS.get(self, number.to_bytes(8, "big")) if 0 <= number <= INT_MAX else None
        if found is None:
            raise NotFoundError("query.proposal", f"there is no open proposal {number}", hint="althing gov list")
        return found

    def has_account(self, address: bytes) -> bool:
        return ACCOUNTS.get(self, address) is not None

    def account(self, address: bytes) -> Account:
        found = ACCOUNTS.get(self, address)
        if found is None:
            raise NotFoundError("query.account", f"there is no account {format_address(address)}")
        return found

    def attributes(self, address: bytes) -> list[tuple[str, str]]:
        prefix = ATTRIBUTES.prefix + address
        found = self.scan(prefix, ATTRIBUTES.cls)
        return [(key[len(prefix) :].decode("ascii"), attribute.value) for key, attribute in found]

    # --- devices and streams ----------------------------------------------------------------------------------------

    def device(self, name: str) -> Device:
        found = DEVICES.get(self, name.encode("ascii")) if is_name(name) else None
        if found is None:
            raise NotFoundError("query.device", f"there is no device {name}", hint="list them: althing device list")
        return found

    def devices(self, after: str | None, limit: int) -> list[Device]:
        """Devices by name, behind `after`."""
        own = None if after is None else after[:NAME_CHARS_MAX].encode("utf-8", "replace")
        return [device for _, device in self.page(DEVICES, own, limit)]

    def stream_count(self) -> int:
        count = COUNT.get(self, b"")
        return 0 if count is None else count.value

    def stream(self, path: str) -> StreamDefinition:
        number = NUMBERS.get(self, path.encode("ascii")) if path.isascii() and 0 < len(path) < 200 else None
        if number is None:
            raise NotFoundError("query.stream", f"there is no stream {path}", hint="list them: althing stream list")
        return self.stream_by_number(number.value)

    def stream_by_number(self, number: int) -> StreamDefinition:
        found = DEFINITIONS.get(self, own_number(number)) if 0 <= number <= INT_MAX else None
        if found is None:
            raise NotFoundError("query.stream", f"there is no stream number {number}")
        return found

    def streams(self, after: int | None, limit: int) -> list[StreamDefinition]:
        """Definitions by number, behind `after`."""
        return [d for _, d in self.page(DEFINITIONS, None if after is None else own_number(after), limit)]

    def streams_of(self, device: str) -> list[StreamDefinition]:
        if not is_name(device):
            return []
        prefix = NUMBERS.prefix + device.encode("ascii") + b"/"
        return [self.stream_by_number(number.value) for _, number in self.scan(prefix, NUMBERS.cls)]

    def definition_at(self, number: int, schema_version: int) -> StreamDefinition:
        """The definition as it was with a schema version, to resolve what was anchored under it."""
        present = self.stream_by_number(number)
        if present.schema_version == schema_version:
            return present
        found = None
        if 0 <= schema_version < present.schema_version:
            found = SCHEMAS.get(self, own_number(number) + schema_version.to_bytes(4, "big"))
        if found is None:
            raise NotFoundError("query.schema", f"stream {present.path} has no schema version {schema_version}")
        return found

    def head(self, number: int) -> StreamHead:
        found = HEADS.get(self, own_number(number)) if 0 <= number <= INT_MAX else None
        if found is None:
            raise NotFoundError("query.stream", f"there is no stream number {number}")
        return found

    def gateway_head(self, gateway: bytes) -> GatewayHead:
        return GATEWAYS.get(self, gateway) or GatewayHead(0, bytes(32), 0)

    def row(self, number: int, index: int) -> tuple[AnchorRow, bytes]:
        """Entry `index` of a stream's log, decoded and as bytes; PrunedError where a snapshot left it out."""
        data = logs.entry(self, log_name(number), index)
        if data is None:
            raise self._before_snapshot()
        return AnchorRow.from_bytes(data), data

    def _before_snapshot(self) -> PrunedError:
        with self._store.backend.read() as snapshot:
            begun = receipts_from(snapshot)
        return PrunedError(
            "query.log_pruned",
            f"this node joined from a snapshot and has no log entries from before height {begun}",
            hint="ask a node that has them all",
        )

    def row_of(self, number: int, sequence: int) -> int:
        """Index of the row that covers a sequence, by bisection; NotFoundError `query.sequence` beyond the anchored ones."""
        head = self.head(number)
        if not 0 <= sequence < head.next_sequence:
            raise NotFoundError(
                "query.sequence",
                f"sequence {sequence} is not anchored; the stream's next is {head.next_sequence}",
                hint="wait for the next batch",
            )
        low, high = 0, head.log_size - 1
        while low < high:
            middle = (low + high + 1) // 2
            # Entries that a snapshot left out are the oldest ones.
            data = logs.entry(self, log_name(number), middle)
            if data is None or AnchorRow.from_bytes(data).first <= sequence:
                low = middle
            else:
                high = middle - 1
        return low

    def row_proof(self, path: str, sequence: int) -> RowProof:
        """The ledger's part of the proof of (stream, sequence)."""
        definition = self.stream(path)
        number = definition.id
        head = self.head(number)
        index = self.row_of(number, sequence)
        row, row_bytes = self.row(number, index)
        row_path = tuple(logs.path(self, log_name(number), index, head.log_size))
        answer = self.prove(HEADS.key(own_number(number)))
        return RowProof(row, row_bytes, index, row_path, answer, definition, definition.to_bytes())

    def account_proof(self, address: bytes) -> StateAnswer:
        return self.prove(ACCOUNTS.key(address))

    # --- assets -----------------------------------------------------------------------------------------------------

    def unit(self, symbol: str) -> Unit:
        found = UNITS.get(self, symbol.encode("ascii")) if is_name(symbol) else None
        if found is None:
            raise NotFoundError("query.unit", f"there is no unit {symbol}", hint="list them: althing asset list")
        return found

    def units(self, after: str | None, limit: int) -> list[Unit]:
        """Units by symbol, behind `after`."""
        own = None if after is None else after[:NAME_CHARS_MAX].encode("utf-8", "replace")
        return [unit for _, unit in self.page(UNITS, own, limit)]

    def balance(self, address: bytes, symbol: str) -> Balance:
        return BALANCES.get(self, own_balance(address, symbol)) or Balance(0, frozen=False)

    def balances(self, address: bytes, limit: int = 1000) -> dict[str, int]:
        """What an account has, by symbol."""
        found = self._view.scan(BALANCES.prefix + address, limit=limit)
        start = len(BALANCES.prefix) + len(address)
        return {key[start:].decode("ascii"): Balance.from_bytes(data).amount for key, data in found}

    def escrow(self, number: int) -> Escrow:
        found = ESCROWS.get(self, own_escrow(number)) if 0 <= number <= INT_MAX else None
        if found is None:
            raise NotFoundError("query.escrow", f"there is no escrow {number}, or it is settled")
        return found

    def escrows(self, after: int | None, limit: int) -> list[Escrow]:
        """Open escrows by number, behind `after`."""
        own = None if after is None else own_escrow(after)
        return [escrow for _, escrow in self.page(ESCROWS, own, limit)]

    def kind(self) -> str:
        """The kind of chain: consortium, private or public."""
        found = KIND.get(self, b"")
        return "consortium" if found is None else found.name

    def staked_chain(self) -> StakedChain | None:
        """What a public chain never changes; None on another."""
        return STAKED_CHAIN.get(self, b"")

    def staking(self) -> StakingParameters:
        """Rules of bonds."""
        found = STAKING.get(self, b"")
        if found is None:
            raise NotFoundError("query.staking", "nobody bonds on this chain: it is not a public one")
        return found

    def stake(self, organisation: bytes) -> Stake:
        """What an organisation has bonded."""
        found = STAKES.get(self, organisation)
        if found is None:
            raise NotFoundError("query.stake", f"{format_address(organisation)} has bonded nothing")
        return found

    def stakes(self, after: bytes | None, limit: int) -> list[Stake]:
        """Stakes by organisation's address."""
        return [stake for _, stake in self.page(STAKES, after, limit)]

    def unbondings(self, organisation: bytes) -> list[tuple[int, Unbonding]]:
        """What an organisation unbonds, with the ledger time at which each part is due."""
        return [
            (int.from_bytes(own[:8], "big"), entry)
            for own, entry in UNBONDINGS.scan(self)
            if entry.organisation == organisation
        ]

    def header_log(self) -> tuple[int, StateAnswer]:
        """Size of the header log, and the proof of its head."""
        head = HEADERS.get(self, b"")
        return (0 if head is None else head.size), self.prove(HEADERS.key(b""))

    def header_entry(self, index: int, size: int) -> tuple[bytes, tuple[bytes, ...]]:
        """An entry of the header log and its path in the log of `size`."""
        data = logs.entry(self, HEADER_LOG, index)
        if data is None:
            raise self._before_snapshot()
        return data, tuple(logs.path(self, HEADER_LOG, index, size))


def find_transaction(store: StateStore, tx_id: bytes) -> Location:
    """Where a transaction was executed, or NotFoundError `query.transaction`."""
    with store.backend.read() as snapshot:
        data = snapshot.get(EXECUTED, tx_id)
        kept_from = 0 if data is not None else receipts_from(snapshot)
    if data is None:
        since = f" since height {kept_from}, before which this node keeps no receipts" if kept_from else ""
        raise NotFoundError(
            "query.transaction", f"no such transaction was executed{since}", hint="it may be pending or expired"
        )
    return Location.from_bytes(data)
