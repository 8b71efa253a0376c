"""What the chain is, read from CometBFT's stores over its RPC and from the headers kept beside them. Any thread."""

from __future__ import annotations

import base64
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, Final

from althing.consensus.abci import FinalizeBlockResponse
from althing.consensus.cometbft.evidence import evidence_bytes
from althing.consensus.cometbft.headers import HeaderStore
from althing.consensus.cometbft.rpc import Rpc, RpcError
from althing.consensus.cometbft.rpcforms import (
    block_of,
    params_of,
    priorities_of,
    results_of,
    signed_header_of,
    validators_of,
)
from althing.consensus.engine import CommittedBlock, EngineError
from althing.protocol.block import Block, ConsensusParams, SignedHeader, ValidatorSet

__all__ = ["ChainReader"]

COPY_MAX: Final = 32  # heights of one request and one durable write while headers are copied
RECENT_MAX: Final = 256  # signed headers kept decoded: event streams and proofs ask for the latest again and again
SETS_MAX: Final = 64
_PAGE: Final = 100  # validators of one answer (CometBFT's own bound)
_RETRY_S: Final = 0.02  # parameters of the next height are stored a moment after the commit that this node has seen
_RETRIES: Final = 50


class ChainReader:
    """`latest` and `base` give the heights that may be asked for: both change beside every call."""

    def __init__(
        self, rpc: Rpc, headers: HeaderStore, *, initial: int, latest: Callable[[], int], base: Callable[[], int]
    ) -> None:
        self._rpc = rpc
        self._headers = headers
        self._initial = initial
        self._latest = latest
        self._base = base
        self._lock = Lock()
        self._recent: OrderedDict[int, SignedHeader] = OrderedDict()
        self._sets: OrderedDict[bytes, ValidatorSet] = OrderedDict()

    @property
    def kept(self) -> int:
        """Headers are kept up to here."""
        return self._headers.latest_height

    def block(self, height: int) -> Block:
        """See `Engine.block`."""
        self._require(height)
        return block_of(self._ask("block", height))

    def signed_header(self, height: int) -> SignedHeader:
        """See `Engine.signed_header`. The commit may have fewer precommits than the next block will show."""
        self._require(height, kept=True)
        with self._lock:
            recent = self._recent.get(height)
        if recent is not None:
            return recent
        found = self._headers.signed_header(height)
        if found is None:
            found = signed_header_of(self._ask("commit", height))
        with self._lock:
            self._recent[height] = found
            if len(self._recent) > RECENT_MAX:
                self._recent.popitem(last=False)
        return found

    def validators(self, height: int) -> ValidatorSet:
        """See `Engine.validators`: the set whose hash the header names, or the one before for the next height."""
        self._require(height, ahead=1, kept=True)
        if height <= self._latest():
            wanted = self.signed_header(height).header.validators_hash
        elif height > self._initial:
            wanted = self.signed_header(height - 1).header.next_validators_hash
        else:
            return self._fetch_set(height)
        return self._set(wanted, height)

    def proposer_priorities(self, height: int) -> tuple[int, ...]:
        """See `Engine.proposer_priorities`."""
        self._require(height, ahead=1)
        priorities = priorities_of(self._fetch_members(height))
        try:
            return tuple(priorities[member.address] for member in self.validators(height).validators)
        except KeyError as error:
            raise EngineError("engine.store", f"the validators of height {height} are not those it names") from error

    def submit_evidence(self, evidence: Mapping[str, Any]) -> bytes:
        """See `Engine.submit_evidence`."""
        try:
            evidence_bytes(evidence)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise EngineError("engine.evidence", "the evidence is not of the form that CometBFT's RPC takes") from error
        try:
            found = self._rpc.call("broadcast_evidence", evidence=dict(evidence))
        except RpcError as error:
            raise EngineError("engine.evidence", f"CometBFT does not take the evidence: {error.data}") from error
        return base64.b64decode(found["hash"])

    def consensus_params(self, height: int) -> ConsensusParams:
        """See `Engine.consensus_params`."""
        self._require(height, ahead=1)
        for attempt in range(_RETRIES):
            try:
                return params_of(self._ask("consensus_params", height)["consensus_params"])
            except EngineError:
                if height <= self._latest() or attempt + 1 == _RETRIES:
                    raise
            time.sleep(_RETRY_S)
        raise AssertionError("the last attempt returns or raises")

    def results(self, height: int) -> FinalizeBlockResponse:
        """See `Engine.results`."""
        self._require(height)
        return results_of(self._ask("block_results", height))

    def committed(self, height: int) -> CommittedBlock:
        """Block, commit and results in one question."""
        self._require(height)
        calls = [(method, {"height": str(height)}) for method in ("block", "commit", "block_results")]
        block, commit, results = (self._answer(height, found) for found in self._rpc.batch(calls))
        signed = signed_header_of(commit)
        return CommittedBlock(block_of(block), signed.commit.block_id, signed.commit, results_of(results))

    def copy(self) -> bool:
        """Keep the next headers that are not kept yet; False when there are none."""
        latest, kept = self._latest(), self.kept
        if kept >= latest:
            return False
        # The last one kept is fetched again: the block after it brought the commit that the chain will always show.
        first = max(kept, self._initial, self._base())
        last = min(latest, first + COPY_MAX - 1)
        answers = self._rpc.batch([("commit", {"height": str(height)}) for height in range(first, last + 1)])
        signed = [signed_header_of(self._answer(first + at, answer)) for at, answer in enumerate(answers)]
        sets = {}
        for item in signed:
            sets[item.header.validators_hash] = item.header.height
            sets.setdefault(item.header.next_validators_hash, item.header.height + 1)
        unknown = [(name, at) for name, at in sets.items() if self._headers.validator_set(name) is None]
        # The set after the latest block is not told while the engine catches up; its own header brings it.
        found = [self._set(name, at) for name, at in unknown if at <= latest]
        self._headers.put(signed, found)
        with self._lock:
            for item in signed:
                self._recent.pop(item.header.height, None)
        return True

    # --- questions ------------------------------------------------------------------------------------------------------

    def _require(self, height: int, *, ahead: int = 0, kept: bool = False) -> None:
        latest, base = self._latest(), self._base()
        if 0 < height < self._initial and self._headers.signed_header(height) is not None:
            # The chain was carried over from another engine: of its blocks the headers are here.
            if kept:
                return
            raise _pruned(height, self._initial)
        if height < self._initial or height > latest + ahead:
            raise EngineError("engine.unknown_height", f"there is no block {height}, the latest is {latest}")
        if height < base and not kept:
            raise _pruned(height, base)

    def _ask(self, method: str, height: int) -> Any:
        try:
            return self._answer(height, self._rpc.call(method, height=str(height)))
        except RpcError as error:
            raise self._refused(height, error) from error

    def _answer(self, height: int, answer: Any) -> Any:
        if isinstance(answer, RpcError):
            raise self._refused(height, answer) from answer
        if answer is None:
            raise EngineError("engine.unknown_height", f"CometBFT has no block {height}")
        return answer

    def _refused(self, height: int, error: RpcError) -> EngineError:
        if "lowest height is" in error.data:
            return _pruned(height, self._base())
        if "must be less than or equal" in error.data:
            return EngineError("engine.unknown_height", f"CometBFT has no block {height} yet")
        return EngineError("engine.store", f"CometBFT cannot read height {height}: {error.data}")

    def _set(self, name: bytes, height: int) -> ValidatorSet:
        with self._lock:
            known = self._sets.get(name)
        if known is None:
            known = self._headers.validator_set(name) or self._fetch_set(height)
            if known.hash() != name:
                raise EngineError("engine.store", f"the validators of height {height} are not those its header names")
            with self._lock:
                self._sets[name] = known
                if len(self._sets) > SETS_MAX:
                    self._sets.popitem(last=False)
        return known

    def _fetch_set(self, height: int) -> ValidatorSet:
        return validators_of(self._fetch_members(height))

    def _fetch_members(self, height: int) -> list[Any]:
        members: list[Any] = []
        while True:
            page = str(len(members) // _PAGE + 1)
            try:
                found = self._rpc.call("validators", height=str(height), page=page, per_page=str(_PAGE))
            except RpcError as error:
                raise self._refused(height, error) from error
            members += found["validators"]
            if len(members) >= int(found["total"]) or not found["validators"]:
                return members


def _pruned(height: int, base: int) -> EngineError:
    return EngineError("engine.pruned", f"height {height} is pruned: blocks are kept from {base}")
