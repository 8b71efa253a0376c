"""One contract for every session store, and what the records in it mean."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from althing.gateway.ingest.mqtt.errors import SessionStoreError
from althing.gateway.ingest.mqtt.message import Message
from althing.gateway.ingest.mqtt.packets import Will
from althing.gateway.ingest.mqtt.records import (
    QueuedRecord,
    SessionRecord,
    pack_message,
    pack_queued,
    pack_session,
    pack_subscription,
    unpack_message,
    unpack_queued,
    unpack_session,
    unpack_subscription,
)
from althing.gateway.ingest.mqtt.store import KEY_BYTES_MAX, MemorySessionStore
from althing.gateway.ingest.mqtt.store_lmdb import LmdbSessionStore
from althing.gateway.ingest.mqtt.topics import Subscription


@pytest.fixture(params=["memory", "lmdb"])
def store(request, tmp_path):
    one = MemorySessionStore() if request.param == "memory" else LmdbSessionStore(tmp_path / "sessions")
    yield one
    one.close()


def test_a_new_store_is_empty(store):
    assert list(store.load()) == []


def test_changes_are_made_together_and_read_in_order_of_keys(store):
    store.write({b"b": b"2", b"a": b"1", b"c": b"3"})
    store.write({b"a": None, b"b": b"two", b"missing": None})
    assert list(store.load()) == [(b"b", b"two"), (b"c", b"3")]


def test_long_keys_and_large_values(store):
    key, value = b"k" * KEY_BYTES_MAX, bytes(2_000_000)
    store.write({key: value})
    assert list(store.load()) == [(key, value)]


def test_an_empty_group_is_fine(store):
    store.write({})
    assert list(store.load()) == []


def test_lmdb_survives_closing_and_grows(tmp_path):
    store = LmdbSessionStore(tmp_path / "s", map_bytes=2**20)
    for number in range(8):
        store.write({bytes((number,)) * 4: bytes(400_000)})
    store.close()
    store = LmdbSessionStore(tmp_path / "s", map_bytes=2**20)
    assert len(list(store.load())) == 8
    store.close()


def test_lmdb_that_is_full_says_so_and_changes_nothing(tmp_path):
    store = LmdbSessionStore(tmp_path / "s", map_bytes=2**18, bytes_max=2**19)
    store.write({b"a": b"1"})
    with pytest.raises(SessionStoreError) as caught:
        store.write({b"a": b"2", b"b": bytes(2**20)})
    assert caught.value.code == "mqtt_store.full"
    assert list(store.load()) == [(b"a", b"1")]
    store.write({b"c": b"3"})
    store.close()


def test_lmdb_is_for_one_process(tmp_path):
    store = LmdbSessionStore(tmp_path / "s")
    with pytest.raises(SessionStoreError) as caught:
        LmdbSessionStore(tmp_path / "s")
    assert caught.value.code == "mqtt_store.locked"
    store.close()
    LmdbSessionStore(tmp_path / "s").close()


def test_lmdb_refuses_a_foreign_environment(tmp_path):
    import lmdb

    environment = lmdb.open(str(tmp_path / "s"))
    with environment.begin(write=True) as transaction:
        transaction.put(b"x", b"y")
    environment.close()
    with pytest.raises(SessionStoreError) as caught:
        LmdbSessionStore(tmp_path / "s")
    assert caught.value.code == "mqtt_store.foreign"


def test_lmdb_where_it_cannot_be(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SessionStoreError) as caught:
        LmdbSessionStore(tmp_path / "file" / "s")
    assert caught.value.code == "mqtt_store.unavailable"


texts = st.text(max_size=20)
wills = st.none() | st.builds(
    Will,
    texts,
    st.binary(max_size=50),
    st.integers(0, 2),
    st.booleans(),
    st.binary(max_size=20),
    texts,
    st.none() | st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
)
sessions = st.builds(
    SessionRecord,
    texts,
    st.binary(min_size=16, max_size=16),
    texts,
    texts,
    texts,
    texts,
    st.integers(3, 5),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**63),
    wills,
)
messages = st.builds(
    Message,
    texts,
    st.binary(max_size=200),
    st.integers(0, 2),
    st.booleans(),
    st.binary(max_size=30),
    st.integers(0, 2**63),
)
queued = st.builds(
    QueuedRecord, messages, st.integers(1, 2), st.booleans(), st.lists(st.integers(1, 2**28 - 1), max_size=4).map(tuple)
)
subscriptions = st.builds(
    Subscription,
    st.just(7),
    st.sampled_from(["a", "a/#", "+"]),
    st.sampled_from(["", "g"]),
    st.integers(0, 2),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**28 - 1),
)


@given(sessions)
def test_session_records(record):
    assert unpack_session(pack_session(record)) == record


@given(messages)
def test_message_records(message):
    assert unpack_message(pack_message(message)) == message


@given(queued)
def test_queued_records(record):
    assert unpack_queued(pack_queued(record)) == record


@given(subscriptions)
def test_subscription_records(subscription):
    assert unpack_subscription(7, pack_subscription(subscription)) == subscription


@given(st.one_of(sessions.map(pack_session), messages.map(pack_message), queued.map(pack_queued)), st.data())
def test_damaged_records_raise_nothing_else(value, data):
    where = data.draw(st.integers(0, len(value) - 1))
    damaged = data.draw(
        st.sampled_from(
            [value[:where], value + b"x", value[:where] + bytes((value[where] ^ 0xFF,)) + value[where + 1 :]]
        )
    )
    for unpack in (unpack_session, unpack_message, unpack_queued):
        with suppress(SessionStoreError):
            unpack(damaged)


def test_a_damaged_record_has_a_code():
    for value in (b"", b"\x02" + pack_message(Message("t", b"", 0))[1:], pack_message(Message("t", b"", 0)) + b"x"):
        with pytest.raises(SessionStoreError) as caught:
            unpack_message(value)
        assert caught.value.code == "mqtt_store.damaged"
