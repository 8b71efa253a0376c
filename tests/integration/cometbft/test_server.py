"""The ABCI server over real sockets: order, concurrency, bounds, and whose fault ends what."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from althing.consensus.abci import CheckTxRequest, CheckTxResponse, FinalizeBlockRequest, FinalizeBlockResponse
from althing.consensus.cometbft.address import SocketAddress, parse_address
from althing.consensus.cometbft.frames import frame
from althing.consensus.cometbft.proto.tendermint.abci import types_pb2 as pb
from althing.consensus.cometbft.server import CONNECTIONS_MAX, AbciServer
from althing.consensus.engine import EngineError
from althing.service.listener import ListenerError
from althing.testing.kvstore import KeyValueApplication

from .client import WAIT_S, AbciClient

VALIDATOR = b"\x07" * 20


def finalize(height: int, *txs: bytes) -> pb.RequestFinalizeBlock:
    return pb.RequestFinalizeBlock(height=height, txs=txs, hash=b"\x01" * 32, proposer_address=VALIDATOR)


class Site:
    def __init__(self, server: AbciServer, failures: list[Exception]) -> None:
        self.server = server
        self.failures = failures
        self._clients: list[AbciClient] = []

    def connect(self) -> AbciClient:
        self._clients.append(AbciClient(self.server.address))
        return self._clients[-1]

    def close(self) -> None:
        for client in self._clients:
            client.close()


@contextmanager
def serving(app: Any, address: SocketAddress, **options: Any) -> Iterator[Site]:
    failures: list[Exception] = []
    server = AbciServer(app, address, failed=failures.append, **options)
    server.start()
    site = Site(server, failures)
    try:
        yield site
    finally:
        site.close()
        server.stop()


@pytest.fixture(params=["unix", "tcp"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> SocketAddress:
    if request.param == "unix":
        return SocketAddress(path=tmp_path / "abci.sock")
    return SocketAddress(host="127.0.0.1", port=0)


@pytest.fixture
def unix(tmp_path: Path) -> SocketAddress:
    return SocketAddress(path=tmp_path / "abci.sock")


def soon(condition: Callable[[], bool]) -> None:
    """Threads answer in their own time; bounded by the wait itself."""
    pause = threading.Event()
    for _ in range(WAIT_S * 200):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError("never happened")


def test_a_chain_over_four_connections(address: SocketAddress, tmp_path: Path) -> None:
    app = KeyValueApplication(tmp_path / "app")
    with serving(app, address) as site:
        query, snapshot, mempool, consensus = (site.connect() for _ in range(4))
        assert query.call(echo=pb.RequestEcho(message="hello")).message == "hello"
        assert query.call(info=pb.RequestInfo(version="0.39.4")).last_block_height == 0
        genesis = pb.RequestInitChain(chain_id="c", initial_height=1, app_state_bytes=b"{}")
        genesis.consensus_params.block.max_bytes = 1000
        genesis.consensus_params.block.max_gas = -1
        genesis.consensus_params.evidence.max_age_num_blocks = 10
        genesis.consensus_params.evidence.max_age_duration.seconds = 10
        genesis.consensus_params.validator.pub_key_types.append("ed25519")
        assert len(consensus.call(init_chain=genesis).app_hash) == 32
        assert mempool.call(check_tx=pb.RequestCheckTx(tx=b"a=1")).code == 0
        assert mempool.call(check_tx=pb.RequestCheckTx(tx=b"bad")).code == 1
        prepared = consensus.call(prepare_proposal=pb.RequestPrepareProposal(height=1, txs=[b"a=1"], max_tx_bytes=500))
        assert list(prepared.txs) == [b"a=1"]
        assert consensus.call(process_proposal=pb.RequestProcessProposal(height=1, txs=[b"a=1"])).status == 1
        assert consensus.call(process_proposal=pb.RequestProcessProposal(txs=[b"refuse-block=1"])).status == 2
        done = consensus.call(finalize_block=finalize(1, b"a=1", b"bad"))
        assert [result.code for result in done.tx_results] == [0, 1]
        assert query.call(info=pb.RequestInfo()).last_block_height == 0
        consensus.call(commit=pb.RequestCommit())
        assert query.call(info=pb.RequestInfo()).last_block_app_hash == done.app_hash
        assert query.call(query=pb.RequestQuery(data=b"a")).value == b"1"
        (offered,) = snapshot.call(list_snapshots=pb.RequestListSnapshots()).snapshots
        chunk = snapshot.call(load_snapshot_chunk=pb.RequestLoadSnapshotChunk(height=offered.height, format=1)).chunk
        assert b'"a"' in chunk
        assert not site.failures
    assert app.items == {"chain": "c", "a": "1"}


def test_answers_come_in_the_order_of_the_calls_however_they_arrive(address: SocketAddress, tmp_path: Path) -> None:
    with serving(KeyValueApplication(tmp_path / "app"), address) as site:
        client = site.connect()
        requests = [
            pb.Request(check_tx=pb.RequestCheckTx(tx=b"k=%d" % number if number % 3 else b"x")) for number in range(500)
        ]
        stream = b"".join(frame(request.SerializeToString()) for request in requests)
        sender = threading.Thread(
            target=lambda: [client.socket.sendall(stream[at : at + 7]) for at in range(0, len(stream), 7)]
        )
        sender.start()
        codes = [client.receive().check_tx.code for _ in requests]  # type: ignore[union-attr]
        sender.join()
        assert codes == [0 if number % 3 else 1 for number in range(500)]


def test_reads_and_checks_go_on_while_a_block_executes(unix: SocketAddress, tmp_path: Path) -> None:
    executing, goes_on = threading.Event(), threading.Event()

    class Slow(KeyValueApplication):
        def finalize_block(self, request: FinalizeBlockRequest, /) -> FinalizeBlockResponse:
            executing.set()
            assert goes_on.wait(WAIT_S)
            return super().finalize_block(request)

    with serving(Slow(tmp_path / "app"), unix) as site:
        query, mempool, consensus = (site.connect() for _ in range(3))
        consensus.send(pb.Request(finalize_block=finalize(1, b"a=1")), pb.Request(flush=pb.RequestFlush()))
        assert executing.wait(WAIT_S)
        assert query.call(info=pb.RequestInfo()).last_block_height == 0
        assert mempool.call(check_tx=pb.RequestCheckTx(tx=b"b=1")).code == 0
        goes_on.set()
        assert len(consensus.receive().finalize_block.tx_results) == 1  # type: ignore[union-attr]


def test_consensus_calls_of_a_restarted_engine_wait_for_the_old_one(unix: SocketAddress, tmp_path: Path) -> None:
    executing, goes_on, order = threading.Event(), threading.Event(), []

    class Slow(KeyValueApplication):
        def finalize_block(self, request: FinalizeBlockRequest, /) -> FinalizeBlockResponse:
            order.append(("begin", request.height))
            executing.set()
            assert goes_on.wait(WAIT_S)
            order.append(("end", request.height))
            return super().finalize_block(request)

    with serving(Slow(tmp_path / "app"), unix) as site:
        old = site.connect()
        old.send(pb.Request(finalize_block=finalize(1)), pb.Request(flush=pb.RequestFlush()))
        assert executing.wait(WAIT_S)
        old.close()
        new = site.connect()
        new.send(pb.Request(finalize_block=finalize(2)), pb.Request(flush=pb.RequestFlush()))
        goes_on.set()
        assert new.receive() is not None
        assert order == [("begin", 1), ("end", 1), ("begin", 2), ("end", 2)]


@pytest.mark.parametrize(
    "data",
    [
        b"\x01\xff",  # no protobuf
        b"\x00",  # a request without content
        frame(pb.Request(insert_tx=pb.RequestInsertTx(tx=b"x")).SerializeToString()),  # the application's own mempool
        b"\xff\xff\xff\xff\xff\xff",  # a length without end
        b"\x81\x80\x80\x80\x01",  # a length beyond the bound
        frame(pb.Request(query=pb.RequestQuery(height=-1)).SerializeToString()),
    ],
)
def test_a_peers_fault_closes_its_connection_and_no_other(unix: SocketAddress, tmp_path: Path, data: bytes) -> None:
    with serving(KeyValueApplication(tmp_path / "app"), unix) as site:
        other, odd = site.connect(), site.connect()
        assert other.call(info=pb.RequestInfo()).last_block_height == 0
        odd.socket.sendall(data)
        assert odd.receive() is None
        assert other.call(info=pb.RequestInfo()).last_block_height == 0
        assert not site.failures


def test_a_message_cut_off_is_noticed(unix: SocketAddress, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serving(KeyValueApplication(tmp_path / "app"), unix) as site:
        client = site.connect()
        client.socket.sendall(b"\x05\x01")
        client.close()
        soon(lambda: "abci.truncated" in caplog.text)
        soon(lambda: site.server.connected == 0)


def test_a_frame_beyond_the_bound_is_refused_before_it_is_read(unix: SocketAddress, tmp_path: Path) -> None:
    with serving(KeyValueApplication(tmp_path / "app"), unix, frame_bytes_max=100) as site:
        client = site.connect()
        assert client.call(check_tx=pb.RequestCheckTx(tx=b"k=" + b"v" * 80)).code == 0
        client.send(pb.Request(check_tx=pb.RequestCheckTx(tx=b"k=" + b"v" * 200)))
        assert client.receive() is None


def test_an_application_that_fails_is_reported_and_never_answered_wrongly(unix: SocketAddress, tmp_path: Path) -> None:
    class Broken(KeyValueApplication):
        def finalize_block(self, request: FinalizeBlockRequest, /) -> FinalizeBlockResponse:
            raise RuntimeError("a bug")

    with serving(Broken(tmp_path / "app"), unix) as site:
        consensus, query = site.connect(), site.connect()
        consensus.send(pb.Request(finalize_block=finalize(1)), pb.Request(flush=pb.RequestFlush()))
        soon(lambda: len(site.failures) == 1)
        assert str(site.failures[0]) == "a bug"
        assert query.call(info=pb.RequestInfo()).last_block_height == 0
    assert consensus.socket.fileno() == -1


def test_connections_are_bounded(unix: SocketAddress, tmp_path: Path) -> None:
    with serving(KeyValueApplication(tmp_path / "app"), unix) as site:
        clients = [site.connect() for _ in range(CONNECTIONS_MAX)]
        soon(lambda: site.server.connected == CONNECTIONS_MAX)
        assert site.connect().receive() is None
        clients[0].close()
        soon(lambda: site.server.connected == CONNECTIONS_MAX - 1)
        assert site.connect().call(info=pb.RequestInfo()).last_block_height == 0


def test_an_engine_that_does_not_read_is_not_answered_without_bound(unix: SocketAddress, tmp_path: Path) -> None:
    """Back-pressure: the next call is read only after the answers before it could be written."""
    counted = []

    class Counting(KeyValueApplication):
        def check_tx(self, request: CheckTxRequest, /) -> CheckTxResponse:
            counted.append(1)
            return CheckTxResponse(data=b"x" * 100_000)

    with serving(Counting(tmp_path / "app"), unix) as site:
        client = site.connect()
        one = frame(pb.Request(check_tx=pb.RequestCheckTx(tx=b"k=v")).SerializeToString())
        client.socket.sendall(one * 2000)
        seen = -1
        pause = threading.Event()
        while seen != len(counted):  # until it stands still
            seen = len(counted)
            pause.wait(0.2)
        assert 0 < seen < 500
        for _ in range(2000):
            assert client.receive() is not None
        assert len(counted) == 2000


def test_only_loopback_and_unix(tmp_path: Path) -> None:
    server = AbciServer(KeyValueApplication(tmp_path), SocketAddress(host="0.0.0.0"), failed=lambda _: None)
    with pytest.raises(ListenerError) as error:
        server.start()
    assert error.value.code == "listener.insecure_bind"
    assert parse_address("tcp://127.0.0.1:26658") == SocketAddress(host="127.0.0.1", port=26658)
    assert str(parse_address(f"unix://{tmp_path}/s")) == f"unix://{tmp_path}/s"
    for text in ("", "unix://", "tcp://x", "tcp://127.0.0.1:70000", "http://h:1", "unix://" + "a" * 200):
        with pytest.raises(EngineError):
            parse_address(text)
