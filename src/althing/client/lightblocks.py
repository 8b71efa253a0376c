"""Light blocks as nodes tell them, and the questions of `althing.light.following` answered with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

from althing.light.blocks import LightBlock
from althing.protocol.block import Commit, Header, SignedHeader, Validator, ValidatorSet
from althing.protocol.block.validators import VALIDATORS_MAX

__all__ = ["drive", "light_block_of_answer"]

T = TypeVar("T")


async def drive(steps: Generator[int, LightBlock, T], fetch: Callable[[int], Awaitable[LightBlock]]) -> T:
    """Run a generator that asks for light blocks by their height."""
    try:
        height = next(steps)
        while True:
            height = steps.send(await fetch(height))
    except StopIteration as end:
        result: T = end.value
        return result


def light_block_of_answer(document: Any) -> LightBlock:
    """What `GET /v1/light/{height}` says; ValueError or ProtocolError when it is not of the form."""
    match document:
        case {"header": str() as header, "commit": str() as commit, "validators": list() as members}:
            signed = SignedHeader(Header.decode(bytes.fromhex(header)), Commit.decode(bytes.fromhex(commit)))
            return LightBlock(signed, ValidatorSet.of(_member(member) for member in members[: VALIDATORS_MAX + 1]))
    raise ValueError("not a light block")


def _member(member: Any) -> Validator:
    match member:
        case {"public_key": str() as public, "power": int() as power}:
            return Validator(bytes.fromhex(public), power)
    raise ValueError("a validator is not of the form")
