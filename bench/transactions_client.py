"""The client of `bench.transactions`: keeps so many transactions in flight and times each until its receipt is there."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import uvloop

from althing.client.client import AsyncClient
from althing.client.sending import Committed, Sender
from althing.client.transport import Transport
from althing.protocol.messages.identity import SetAttribute
from bench.population import account_signer


async def main(options: dict[str, Any]) -> dict[str, float]:
    signers = [account_signer(number) for number in range(options["accounts"])]
    count, in_flight, keys_each = options["count"], options["in_flight"], options["keys_each"]
    loop = asyncio.get_running_loop()
    async with await AsyncClient.connect(options["url"]) as chain:
        sender = Sender(Transport([options["url"]]), chain.trust.genesis_hash)
        value = f"{options['run']:032d}"

        def message(at: int) -> tuple[int, SetAttribute]:
            # Every key in turn: each transaction in flight writes one of its own.
            own = at % len(signers)
            return own, SetAttribute(signers[own].address, f"r{at // len(signers) % keys_each}", value)

        signed = []
        if options["presigned"]:
            for at in range(count):
                own, body = message(at)
                signed.append(sender.sign((signers[own],), (body,)))

        def send(at: int) -> asyncio.Future[Committed]:
            if signed:
                return sender.send(signed[at])
            own, body = message(at)
            return chain.send_later(body, signers=(signers[own],))

        latencies: list[float] = []
        finished = loop.create_future()
        sent = done = 0
        scheduled = False

        def settled(began: float, future: asyncio.Future[Committed]) -> None:
            nonlocal done, scheduled
            latencies.append(time.perf_counter() - began)
            done += 1
            error = future.exception()
            if error is not None and not finished.done():
                finished.set_exception(error)
            if done == count and not finished.done():
                finished.set_result(None)
            elif not scheduled and sent < count:
                scheduled = True
                loop.call_soon(fill)

        def fill() -> None:
            nonlocal sent, scheduled
            scheduled = False
            while sent < count and sent - done < in_flight:
                began = time.perf_counter()
                callback: Callable[[asyncio.Future[Committed]], None] = partial(settled, began)
                send(sent).add_done_callback(callback)
                sent += 1

        cpu, began = time.process_time(), time.perf_counter()
        fill()
        await finished
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        await sender.aclose()
    latencies.sort()
    return {
        "rate": count / took,
        "p50_ms": latencies[len(latencies) // 2] * 1e3,
        "p99_ms": latencies[int(len(latencies) * 0.99)] * 1e3,
        "client_us": cpu / count * 1e6,
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(main(json.loads(sys.argv[1])))))
