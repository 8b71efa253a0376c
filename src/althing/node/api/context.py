"""What the routes work with: the node, its read models, threads and metrics; one per process."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Depends, Request

from althing.archive.objects import LocalObjects
from althing.archive.refusals import RefusalReader
from althing.node.api.allowance import Allowance
from althing.node.api.eventlines import EventLines
from althing.node.api.reads import Reads
from althing.node.blockcontents import BlockContents
from althing.node.config import ApiConfig
from althing.node.indexer import Indexer
from althing.node.metrics import NodeMetrics
from althing.node.node import Node
from althing.protocol.trust import parse_trust

__all__ = ["Api", "Context"]


class Api:
    """Shared by all requests, over a node that has started. `stopping` ends what would otherwise never end."""

    def __init__(self, node: Node, config: ApiConfig, indexer: Indexer, metrics: NodeMetrics) -> None:
        self.node = node
        self.config = config
        self.indexer = indexer
        self.metrics = metrics
        self.contents = BlockContents(node.ledger, node.engine)
        self.refusals = RefusalReader(LocalObjects(node.home.archive_dir))
        self.trust = parse_trust(node.home.trust_file.read_bytes())
        self.reads = Reads()
        self.evidence = Allowance()
        self.event_lines = EventLines(node.events, self.reads)
        self.stopping = asyncio.Event()


async def _of_request(request: Request) -> Api:
    api = request.app.state.api
    assert isinstance(api, Api)
    return api


Context = Annotated[Api, Depends(_of_request)]
