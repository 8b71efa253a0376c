"""The embedded engine: in process, one signer, nothing to install (docs/adr/0004-solo-engine.md)."""

from __future__ import annotations

from althing.consensus.solo.engine import SoloEngine
from althing.consensus.solo.settings import SoloSettings

__all__ = ["SoloEngine", "SoloSettings"]
