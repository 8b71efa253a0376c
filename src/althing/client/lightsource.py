"""Where light blocks come from: a node's REST API, or the JSON-RPC of any CometBFT node. Nothing here is trusted.

NoBlockError       light.no_block   the source does not have the height (not yet, or no longer)
UnavailableError   light.source     it does not answer now
BadSourceError     light.answer     its answer is not of the form
"""

from __future__ import annotations

import json
from typing import Any, Final, Protocol

import httpx2

from althing.client.errors import ClientError
from althing.client.lightblocks import light_block_of_answer
from althing.light.blocks import LightBlock
from althing.protocol.block import Validator, ValidatorSet
from althing.protocol.block.evidence import LightClientAttackEvidence
from althing.protocol.block.jsonform import signed_header_of_json, validators_of_json
from althing.protocol.block.validators import VALIDATORS_MAX
from althing.protocol.errors import AlthingError, ProtocolError, UnavailableError

__all__ = ["ApiSource", "BadSourceError", "NoBlockError", "RpcSource", "Source"]

_ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024  # the commit of 10,000 validators is 3 MB of JSON
_PAGE: Final = 100  # CometBFT's largest
_TIMEOUT_S: Final = 10


class NoBlockError(AlthingError):
    """The source does not have the block: it is behind, or has pruned it."""

    http_status = 404

    def __init__(self, message: str) -> None:
        super().__init__("light.no_block", message, hint="ask for a newer height, or wait")


class BadSourceError(AlthingError):
    """The source's answer is not of the form; it is not asked again."""

    http_status = 502

    def __init__(self, message: str) -> None:
        super().__init__("light.answer", message, hint="use another node")


class Source(Protocol):
    """Somebody who has light blocks of a chain."""

    @property
    def url(self) -> str: ...

    async def light_block(self, height: int) -> LightBlock:
        """The block of a height, 0 for the latest; its parts are of their form, and nothing more is checked."""
        ...

    async def report(self, evidence: LightClientAttackEvidence) -> None:
        """Hand over evidence of an attack."""
        ...

    async def aclose(self) -> None: ...


class _Http:
    """Bounded requests to one address."""

    def __init__(self, url: str, token: str = "", verify: Any = True) -> None:
        if not url.startswith(("http://", "https://")):
            raise ClientError("client.url", "a node's address begins with http:// or https://")
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx2.AsyncClient(timeout=_TIMEOUT_S, headers=headers, verify=verify, follow_redirects=False)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        data = bytearray()
        try:
            async with self._client.stream(method, self.url + path, json=body) as response:
                async for chunk in response.aiter_bytes():
                    data += chunk
                    if len(data) > _ANSWER_BYTES_MAX:
                        raise BadSourceError(f"{self.url} answered with more than {_ANSWER_BYTES_MAX} bytes")
        except httpx2.TransportError as exc:
            raise UnavailableError("light.source", f"{self.url} does not answer: {exc}", retry_after_s=2) from exc
        except httpx2.DecodingError as exc:
            raise BadSourceError(f"{self.url} answered in a damaged encoding") from exc
        try:
            document = json.loads(bytes(data))
        except (ValueError, RecursionError) as exc:
            if response.status_code >= 500:
                raise UnavailableError("light.source", f"{self.url} answers {response.status_code}") from exc
            raise BadSourceError(f"{self.url} did not answer with JSON") from exc
        return response.status_code, document


class ApiSource:
    """`GET /v1/light/{height}` of an Althing node."""

    def __init__(self, url: str, *, token: str = "", verify: Any = True) -> None:
        self._http = _Http(url, token, verify)

    @property
    def url(self) -> str:
        return self._http.url

    async def light_block(self, height: int) -> LightBlock:
        status, document = await self._http.ask("GET", f"/v1/light/{height}")
        if status in (404, 410):
            raise NoBlockError(f"{self.url} does not have the block of height {height}")
        if status == 503 or status == 429:
            raise UnavailableError("light.source", f"{self.url} is not ready")
        if status != 200:
            raise BadSourceError(f"{self.url} answered {status}")
        try:
            block = light_block_of_answer(document)
        except (ValueError, ProtocolError) as exc:
            raise BadSourceError(f"{self.url} did not answer with a light block: {exc}") from exc
        return _asked(self.url, block, height)

    async def report(self, evidence: LightClientAttackEvidence) -> None:
        await _report(self._http, evidence)

    async def aclose(self) -> None:
        await self._http.aclose()


class RpcSource:
    """`commit` and `validators` of CometBFT's JSON-RPC, of any chain with Ed25519 keys."""

    def __init__(self, url: str, *, token: str = "", verify: Any = True) -> None:
        self._http = _Http(url, token, verify)

    @property
    def url(self) -> str:
        return self._http.url

    async def light_block(self, height: int) -> LightBlock:
        """The commit first; then the validators of the height it is of, page by page."""
        result = await self._call("commit", {"height": str(height)} if height else {}, height)
        try:
            signed = signed_header_of_json(result.get("signed_header"))
            members: list[Validator] = []
            total = 1
            while len(members) < total:
                page = len(members) // _PAGE + 1
                params = {"height": str(signed.header.height), "page": str(page), "per_page": str(_PAGE)}
                answer = await self._call("validators", params, signed.header.height)
                found = validators_of_json(answer.get("validators"))
                total = int(answer.get("total", "0"))
                if not found or len(found) > _PAGE or not 1 <= total <= VALIDATORS_MAX:
                    raise ValueError(f"page {page} of the validators is not of the form")
                members += found
            block = LightBlock(signed, ValidatorSet.of(members))
        except (ValueError, TypeError, ProtocolError) as exc:
            raise BadSourceError(f"{self.url} did not answer with a light block: {exc}") from exc
        return _asked(self.url, block, height)

    async def report(self, evidence: LightClientAttackEvidence) -> None:
        await _report(self._http, evidence)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _call(self, method: str, params: dict[str, Any], height: int) -> dict[str, Any]:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        _, document = await self._http.ask("POST", "/", body)
        match document:
            case {"result": dict() as result}:
                return result
            case {"error": {"data": str() as reason}} | {"error": {"message": str() as reason}}:
                # CometBFT tells these apart by their text alone (light/provider/http).
                if "must be less than or equal to" in reason or "is not available" in reason:
                    raise NoBlockError(f"{self.url} does not have the block of height {height}")
                raise UnavailableError("light.source", f"{self.url} refused {method}: {reason[:200]}")
        raise BadSourceError(f"{self.url} did not answer with JSON-RPC")


async def _report(http: _Http, evidence: LightClientAttackEvidence) -> None:
    params = {"evidence": evidence.to_json()}
    body = {"jsonrpc": "2.0", "id": 1, "method": "broadcast_evidence", "params": params}
    status, document = await http.ask("POST", "/", body)
    if status != 200 or not isinstance(document, dict) or "result" not in document:
        raise UnavailableError("light.source", f"{http.url} did not take the evidence: {str(document)[:200]}")


def _asked(url: str, block: LightBlock, height: int) -> LightBlock:
    if height and block.height != height:
        raise BadSourceError(f"{url} answered with height {block.height}, asked was {height}")
    return block
