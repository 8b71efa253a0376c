"""Brokered topics: MQTT 5 and 3.1.1 as bytes on the wire."""

from __future__ import annotations

import pytest

DURABLE = b"\x11\x00\x00\x00\x3c"  # Session Expiry Interval of a minute


def u32(value):
    return value.to_bytes(4, "big")


@pytest.mark.parametrize("level", [3, 4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_from_one_client_to_another(server, raw, level, qos):
    there = raw(server, level).connect("there")
    assert there.subscribe(("a/+", 2)) == [2]
    here = raw(server, level).connect("here")
    here.publish("a/b", b"hello", qos, 7)
    if qos == 1:
        assert here.read().kind == 4
    if qos == 2:
        assert here.read().kind == 5
        here.ack(6, 7)
        assert here.read().kind == 7
    found = there.read()
    assert (found.topic, found.qos, found.dup, found.retain) == ("a/b", qos, False, False)
    assert there.body_of(found)[0] == b"hello"
    if qos == 1:
        there.ack(4, found.packet_id)
    if qos == 2:
        there.ack(5, found.packet_id)
        release = there.read()
        assert (release.kind, release.flags, release.packet_id) == (6, 2, found.packet_id)
        there.ack(7, found.packet_id)
    there.silent()
    server.until(lambda: server.metrics.queued == 0)
    assert not server.intake.items


def test_qos_is_the_lower_of_both(server, raw):
    client = raw(server).connect("c")
    client.subscribe(("a", 1))
    client.publish("a", b"x", 2, 1)
    kinds = {client.read().kind: None for _ in range(2)}
    assert set(kinds) == {3, 5}


def test_no_matching_subscribers_is_said(server, raw):
    client = raw(server).connect("c")
    client.publish("nobody", b"x", 1, 1)
    assert client.read().body == b"\0\1\x10"
    client.publish("nobody", b"x", 2, 2)
    assert client.read().body == b"\0\2\x10"
    old = raw(server, 4).connect("d")
    old.publish("nobody", b"x", 1, 1)
    assert old.read().body == b"\0\1"


def test_topic_filters(server, raw):
    client = raw(server).connect("c")
    wrong = ["", "a/#/b", "a#", "a+", "+a/b", "$share/g", "$share//a", "$share/+/a", "$share/g/", "/".join("x" * 70)]
    assert client.subscribe(*((name, 0) for name in wrong)) == [0x8F] * len(wrong)
    assert raw(server, 4).connect("d").subscribe(("a#", 0)) == [0x80]
    matches = {
        "#": ["a", "a/b", "/a", "a/b/c"],
        "a/#": ["a", "a/b", "a/b/c"],
        "+/b": ["a/b", "/b"],
        "/+": ["/b"],
        "+/+/c": ["a/b/c"],
        "$SYS/#": ["$SYS/x"],
        "+": ["a"],
    }
    topics = ["a", "a/b", "/a", "/b", "a/b/c", "$SYS/x"]
    for topic_filter, expected in matches.items():
        one = raw(server).connect(f"f{topic_filter}")
        assert one.subscribe((topic_filter, 0)) == [0]
        for topic in topics:
            server.call(server.server.publish, topic, b"x")
        one.send(b"\xc0\x00")
        got = []
        while (found := one.read()).kind == 3:
            got.append(found.topic)
        assert set(expected) <= set(got)
        assert ("$SYS/x" in got) == (topic_filter == "$SYS/#")


def test_unsubscribe(server, raw):
    client = raw(server).connect("c")
    client.subscribe(("a", 0))
    client.send(b"\xa2\x0a\x00\x05\x00" + b"\x00\x01a" + b"\x00\x02zz")
    assert client.read().body == b"\0\5\0\x00\x11"
    client.publish("a", b"x")
    client.silent()
    assert server.metrics.subscriptions == 0


def test_retained_messages(server, raw):
    client = raw(server).connect("c")
    for qos, topic in enumerate(["r/0", "r/1", "r/2"]):
        client.publish(topic, b"v", qos, 5, retain=True, properties=b"\x26\x00\x01k\x00\x01v")
        if qos:
            client.read()
    client.ack(6, 5)
    client.read()
    reader = raw(server).connect("r")
    assert reader.subscribe(("r/+", 1)) == [1]
    found = [reader.read() for _ in range(3)]
    assert {(one.topic, one.qos, one.retain) for one in found} == {
        ("r/0", 0, True),
        ("r/1", 1, True),
        ("r/2", 1, True),
    }
    assert all(reader.body_of(one) == (b"v", b"\x26\x00\x01k\x00\x01v") for one in found)
    # A message that arrives while subscribed is not marked retained, unless asked for.
    client.publish("r/0", b"w", 0, retain=True)
    assert not reader.read().retain
    client.publish("r/0", b"", 0, retain=True)
    assert reader.read().kind == 3
    later = raw(server).connect("l")
    later.subscribe(("r/0", 0))
    later.silent()
    server.until(lambda: server.metrics.retained == 2)


def test_retain_handling_and_retain_as_published(server, raw):
    client = raw(server).connect("c")
    client.publish("r", b"v", 0, retain=True)
    client.subscribe(("r", 0x10))  # only when new
    assert client.read().retain
    client.subscribe(("r", 0x10))
    client.silent()
    client.subscribe(("r", 0x00))
    assert client.read().retain
    client.subscribe(("r", 0x28))  # never, and as published
    client.silent()
    client.publish("r", b"v", 0, retain=True)
    assert client.read().retain


def test_no_local(server, raw):
    client = raw(server).connect("c")
    other = raw(server).connect("o")
    client.subscribe(("a", 4))
    client.publish("a", b"mine")
    client.silent()
    other.publish("a", b"theirs")
    assert client.body_of(client.read())[0] == b"theirs"


def test_overlapping_subscriptions_make_one_message_with_all_identifiers(server, raw):
    client = raw(server).connect("c")
    client.subscribe(("a/#", 1), packet_id=1, properties=b"\x0b\x01")
    client.subscribe(("a/b", 2), packet_id=2, properties=b"\x0b\x80\x01")
    client.publish("a/b", b"x", 2, 1)
    found = [client.read(), client.read()]
    message = next(one for one in found if one.kind == 3)
    assert message.qos == 2
    properties = client.body_of(message)[1]
    assert sorted([properties[:2], properties[2:]], key=len) == [b"\x0b\x01", b"\x0b\x80\x01"]


def test_shared_subscriptions_take_turns(server, raw):
    members = [raw(server).connect(f"m{i}") for i in range(3)]
    for one in members:
        assert one.subscribe(("$share/g/a/#", 1)) == [1]
    sender = raw(server).connect("s")
    for i in range(1, 10):
        sender.publish("a/b", b"x", 1, i)
        assert sender.read().kind == 4
    for one in members:
        for _ in range(3):
            found = one.read()
            one.ack(4, found.packet_id)
        one.silent()


def test_message_expiry(server, raw):
    away = raw(server).connect("away", properties=DURABLE)
    away.subscribe(("a", 1))
    away.disconnect()
    server.until(lambda: server.metrics.connections == 0)
    sender = raw(server).connect("s")
    sender.publish("a", b"soon", 1, 1, properties=b"\x02" + u32(0))
    sender.publish("a", b"later", 1, 2, properties=b"\x02" + u32(100))
    sender.read(), sender.read()
    back = raw(server).connect("away", clean=False, properties=DURABLE)
    payload, properties = back.body_of(back.read())
    assert payload == b"later"
    assert properties[0] == 2
    assert 98 <= int.from_bytes(properties[1:5], "big") <= 100
    back.silent()
    assert server.metrics.dropped_expired == 1


def test_topic_alias_of_the_client(server, raw):
    client = raw(server).connect("c")
    client.subscribe(("long/topic", 0))
    client.publish("long/topic", b"1", properties=b"\x23\x00\x03")
    client.publish("", b"2", properties=b"\x23\x00\x03")
    found = [client.read(), client.read()]
    assert [one.topic for one in found] == ["long/topic"] * 2
    assert [client.body_of(one)[0] for one in found] == [b"1", b"2"]


def test_topic_alias_of_the_server(server, raw):
    client = raw(server).connect("c", properties=b"\x22\x00\x01")
    client.subscribe(("one", 0), ("two", 0))
    for topic in ("one", "one", "two", "two"):
        client.publish(topic, b"x")
    found = [client.read() for _ in range(4)]
    assert [one.topic for one in found] == ["one", "", "two", "two"]
    assert [client.body_of(one)[1] for one in found] == [b"\x23\0\1", b"\x23\0\1", b"", b""]


def test_receive_maximum_of_the_client(server, raw):
    client = raw(server).connect("c", properties=b"\x21\x00\x02")
    client.subscribe(("a", 1))
    sender = raw(server).connect("s")
    for i in range(1, 6):
        sender.publish("a", bytes((i,)), 1, i)
        sender.read()
    first, second = client.read(), client.read()
    client.silent()
    client.ack(4, second.packet_id)
    third = client.read()
    assert client.body_of(third)[0] == b"\3"
    client.silent()
    client.ack(4, first.packet_id)
    client.ack(4, third.packet_id)
    assert [client.body_of(client.read())[0] for _ in range(2)] == [b"\4", b"\5"]


def test_maximum_packet_size_of_the_client(server, raw):
    client = raw(server).connect("c", properties=b"\x27" + u32(40))
    client.subscribe(("a", 1))
    client.publish("a", b"x" * 60, 1, 1)
    assert client.read().kind == 4
    client.publish("a", b"small", 1, 2)
    assert {client.read().kind, client.read().kind} == {3, 4}
    assert server.metrics.dropped_too_large == 1
    assert server.metrics.queued == 1


def test_request_and_response(server, raw):
    asker = raw(server).connect("asker", properties=b"\x19\x01")
    assert b"\x1a\x00\x0eresponse/asker" in asker.connack
    asker.subscribe(("response/asker", 0))
    answerer = raw(server).connect("answerer")
    answerer.subscribe(("question", 0))
    sent = b"\x08\x00\x0eresponse/asker" + b"\x09\x00\x02\x00\xff" + b"\x01\x01" + b"\x03\x00\x01t"
    asker.publish("question", b"?", properties=sent)
    assert answerer.body_of(answerer.read()) == (b"?", sent)


def test_wrong_acknowledgements(server, raw):
    client = raw(server).connect("c")
    client.ack(4, 99)
    client.ack(7, 99)
    client.silent()
    client.ack(5, 99)
    assert (found := client.read()).kind == 6
    assert found.body == b"\0\x63\x92"
    client.subscribe(("a", 2))
    client.publish("a", b"x", 2, 1)
    message = next(one for one in (client.read(), client.read()) if one.kind == 3)
    client.ack(4, message.packet_id)
    client.closed(0x82)


def test_pubrec_with_an_error_ends_the_exchange(server, raw):
    client = raw(server).connect("c", properties=b"\x21\x00\x01")
    client.subscribe(("a", 2))
    sender = raw(server).connect("s")
    for i in (1, 2):
        sender.publish("a", bytes((i,)), 2, i)
        sender.read()
    client.ack(5, client.read().packet_id, 0x83)
    assert client.body_of(client.read())[0] == b"\2"


def test_will_delay_and_return_before_it(server, raw):
    watcher = raw(server).connect("w")
    watcher.subscribe(("will", 0))
    expiry = b"\x11" + u32(10)
    one = raw(server).connect("one", will=("will", "one", 0, False, b"\x18" + u32(1)), properties=expiry)
    two = raw(server).connect("two", will=("will", "two", 0, False, b"\x18" + u32(1)), properties=expiry)
    one.socket.close(), two.socket.close()
    server.until(lambda: server.metrics.connections == 1)
    assert raw(server).connect("one", clean=False, properties=expiry).present
    assert watcher.body_of(watcher.read())[0] == b"two"
    watcher.silent()


def test_will_comes_with_the_end_of_the_session(server, raw):
    watcher = raw(server).connect("w")
    watcher.subscribe(("will", 0))
    raw(server).connect("one", will=("will", "x", 0, False, b"\x18" + u32(100))).socket.close()
    assert watcher.read().kind == 3
    expiry = b"\x11" + u32(1)
    raw(server).connect("one", will=("will", "y", 0, False, b"\x18" + u32(100)), properties=expiry).socket.close()
    assert watcher.body_of(watcher.read())[0] == b"y"
    # Starting clean ends the old session, and the will with it is due.
    expiry = b"\x11" + u32(100)
    raw(server).connect("one", will=("will", "z", 0, True, b"\x18" + u32(100)), properties=expiry).socket.close()
    server.until(lambda: server.metrics.connections == 1)
    raw(server).connect("one", clean=True)
    assert watcher.body_of(watcher.read())[0] == b"z"


def test_session_takeover(server, raw):
    first = raw(server).connect("same", properties=DURABLE)
    first.subscribe(("a", 1))
    second = raw(server).connect("same", clean=False, properties=DURABLE)
    assert second.present
    first.closed(0x8E)
    second.publish("a", b"x", 1, 1)
    assert {second.read().kind, second.read().kind} == {3, 4}
    third = raw(server, 4).connect("same", clean=True)
    assert not third.present
    second.closed(0x8E)
    third.publish("a", b"x", 1, 1)
    assert third.read().kind == 4
    third.silent()
    assert server.metrics.takeovers == 2


def test_session_present_and_expiry(server, raw):
    raw(server).connect("five", clean=False).disconnect()
    server.until(lambda: server.metrics.sessions == 0)
    raw(server).connect("five", clean=False, properties=b"\x11" + u32(1)).disconnect()
    server.until(lambda: server.metrics.connections == 0)
    assert raw(server).connect("five", clean=False, properties=b"\x11" + u32(1)).present
    raw(server, 4).connect("four", clean=False).disconnect()
    server.until(lambda: server.metrics.connections == 1)
    four = raw(server, 4).connect("four", clean=False)
    assert four.present
    four.disconnect()
    raw(server, 4).connect("four", clean=True).disconnect()
    server.until(lambda: server.metrics.connections == 1)
    assert not raw(server, 4).connect("four", clean=False).present


def test_disconnect_can_shorten_a_session(server, raw):
    raw(server).connect("c", properties=DURABLE).disconnect(b"\0\5\x11" + u32(0))
    server.until(lambda: server.metrics.sessions == 0)


def test_session_expires(server, raw):
    raw(server).connect("c", properties=b"\x11" + u32(1)).disconnect()
    server.until(lambda: server.metrics.sessions == 0)


def test_redelivery_in_order_with_dup(server, raw):
    client = raw(server).connect("c", properties=DURABLE)
    client.subscribe(("a", 2))
    sender = raw(server).connect("s")
    for i in range(1, 7):
        sender.publish("a", bytes((i,)), 1 + i % 2, i)
        sender.read()
    before = [client.read() for _ in range(6)]
    client.ack(4, before[1].packet_id)
    client.ack(5, before[0].packet_id)
    assert client.read().kind == 6
    client.socket.close()
    back = raw(server).connect("c", clean=False, properties=DURABLE)
    release, *again = [back.read() for _ in range(5)]
    assert (release.kind, release.packet_id) == (6, before[0].packet_id)
    assert [(one.packet_id, one.dup, one.qos) for one in again] == [
        (one.packet_id, True, one.qos) for one in before[2:]
    ]


def test_queue_is_bounded_and_drops_the_newest(start, raw):
    server = start(queue_messages_max=3)
    raw(server).connect("away", properties=DURABLE)
    client = raw(server).connect("away", clean=False, properties=DURABLE)
    client.subscribe(("a", 1))
    client.disconnect()
    server.until(lambda: server.metrics.connections == 0)
    sender = raw(server).connect("s")
    for i in range(1, 6):
        sender.publish("a", bytes((i,)), 1, i)
        assert sender.read().kind == 4
    assert server.metrics.dropped_queue_full == 2
    back = raw(server).connect("away", clean=False, properties=DURABLE)
    assert [back.body_of(back.read())[0] for _ in range(3)] == [b"\1", b"\2", b"\3"]
    back.silent()


def test_assigned_client_identifier_and_empty_ones(server, raw):
    first, second = raw(server).connect(), raw(server).connect()
    assert b"\x12\x00\x20althing-" in first.connack
    assert first.connack != second.connack
    raw(server, 4).connect("", clean=True).silent()
    raw(server, 4).connect("", clean=False, expect=2).closed()
    raw(server, 3).connect("", clean=True, expect=2).closed()
    raw(server).connect("x" * 300, expect=0x85).closed()


def test_enhanced_authentication_is_refused(server, raw):
    raw(server).connect("c", properties=b"\x15\x00\x05SCRAM", expect=0x8C).closed()


def test_server_keep_alive_and_session_limits_are_told(start, raw):
    server = start(keep_alive_s_max=100, session_expiry_s_max=50)
    client = raw(server).connect("c", keep_alive=0, properties=b"\x11\xff\xff\xff\xff")
    assert b"\x13\x00\x64" in client.connack
    assert b"\x11\x00\x00\x00\x32" in client.connack
    assert b"\x13" not in raw(server).connect("d", keep_alive=99).connack[3:4]


def test_keep_alive(server, raw):
    watcher = raw(server).connect("w")
    watcher.subscribe(("will", 0))
    client = raw(server).connect("c", keep_alive=1, will=("will", "silent", 0, False))
    old = raw(server, 4).connect("d", keep_alive=1)
    client.closed(0x8D)
    old.closed()
    assert watcher.body_of(watcher.read())[0] == b"silent"
    assert server.metrics.keep_alive_timeouts == 2


def test_dollar_sys(start, raw):
    server = start(sys_interval_s=1)
    client = raw(server).connect("c")
    client.subscribe(("$SYS/broker/version", 0))
    found = client.read()
    assert client.body_of(found)[0].startswith(b"althing ")
    client.subscribe(("#", 0))
    client.silent()


def test_subscriptions_are_bounded(start, raw):
    server = start(subscriptions_max=2)
    client = raw(server).connect("c")
    assert client.subscribe(("a", 0), ("b", 0), ("c", 0), ("a", 1)) == [0, 0, 0x97, 1]


def test_retained_messages_are_bounded(start, raw):
    server = start(retained_messages_max=1)
    client = raw(server).connect("c")
    client.publish("a", b"1", 1, 1, retain=True)
    assert client.read().body[2:] in (b"", b"\x10")
    client.publish("b", b"1", 1, 2, retain=True)
    assert client.read().body[2] == 0x97
    client.publish("a", b"2", 1, 3, retain=True)
    assert client.read().body[2:] in (b"", b"\x10")
