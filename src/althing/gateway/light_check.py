"""The gateway's proof check over the light verifier and the home's trust file."""

from __future__ import annotations

from althing.light.verifier import ProofError, verify_proof
from althing.protocol.trust import Trust

__all__ = ["LightProofCheck"]


class LightProofCheck:
    """Implements ProofCheck."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust

    def check(self, proof: bytes, leaf: bytes, root: bytes) -> int:
        verified = verify_proof(proof, self._trust)
        if verified.leaf.to_bytes() != leaf or verified.row.batch_root != root:
            raise ProofError(3, "the proof is of another message than the one asked for")
        return verified.height
