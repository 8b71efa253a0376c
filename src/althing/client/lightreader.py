"""State reads under headers that the light client verified, with its witnesses."""

from __future__ import annotations

from althing.client.light import LightClient
from althing.client.transport import Transport
from althing.client.verified import VerifiedReader
from althing.light.blocks import LightBlock
from althing.protocol.trust import Trust

__all__ = ["LightReader"]


class LightReader(VerifiedReader):
    """As `VerifiedReader`; which header is the chain's, the light client decides."""

    def __init__(self, transport: Transport, trust: Trust, light: LightClient) -> None:
        super().__init__(transport, trust)
        self._genesis_hash = trust.genesis_hash
        self._light_client = light

    @property
    def trust(self) -> Trust:
        """The highest block that the light client trusts."""
        block = self._light_client.latest
        return Trust(self._light_client.chain_id, self._genesis_hash, block.height, block.hash, block.validators)

    @property
    def version(self) -> int:
        """The newest version of the state that a verified header proves."""
        return self._light_client.latest.height - 1

    async def follow(self, block: LightBlock) -> None:
        """See `LightClient.accept`."""
        await self._light_client.accept(block)
