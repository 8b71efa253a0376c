"""The SDK: wallet, transactions, verified reads, readings, proofs and events. `Client` without async, `AsyncClient` with."""

from althing.client.client import AsyncClient, ChainEvent, load_signer
from althing.client.errors import ClientError, LyingNodeError, NodeError, RefusedTransactionError
from althing.client.keyfile import generate_key, load_key, save_key
from althing.client.readings import ReadingRecord, Readings
from althing.client.sending import Committed, Signer, co_signed
from althing.client.sync import Client

__all__ = [
    "AsyncClient",
    "ChainEvent",
    "Client",
    "ClientError",
    "Committed",
    "LyingNodeError",
    "NodeError",
    "ReadingRecord",
    "Readings",
    "RefusedTransactionError",
    "Signer",
    "co_signed",
    "generate_key",
    "load_key",
    "load_signer",
    "save_key",
]
