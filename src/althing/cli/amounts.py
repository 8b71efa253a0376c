"""Amounts of a unit of account as people write them: exact, with at most the unit's decimals."""

from __future__ import annotations

import re

from althing.client import Client
from althing.client.errors import ClientError

__all__ = ["amount_of", "parts", "written"]


def parts(text: str, decimals: int) -> int:
    """The whole number of smallest parts, exactly; ClientError `cli.amount`."""
    match = re.fullmatch(r"([0-9]{1,19})(?:\.([0-9]+))?", text)
    if match is None or len(match[2] or "") > decimals:
        raise ClientError("cli.amount", f"{text!r} is not an amount with at most {decimals} decimals")
    scale: int = 10**decimals
    return int(match[1]) * scale + int((match[2] or "").ljust(decimals, "0") or "0")


def written(amount: int, decimals: int) -> str:
    """An amount of smallest parts with its point."""
    whole, rest = divmod(amount, 10**decimals)
    return f"{whole}.{rest:0{decimals}d}" if decimals else str(whole)


def amount_of(client: Client, symbol: str, text: str) -> int:
    """Smallest parts of a unit, whose decimals are proved."""
    return parts(text, client.unit(symbol).decimals)
