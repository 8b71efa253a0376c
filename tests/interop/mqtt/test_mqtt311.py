"""MQTT 3.1.1 (OASIS Standard, 29 October 2014) as a client sees it, asked of our server and of Mosquitto."""

from __future__ import annotations

import paho.mqtt.client as paho
import pytest


@pytest.fixture
def version():
    return paho.MQTTv311


def payloads(messages):
    return [message.payload for message in messages]


def test_clean_session_and_session_present(connect, name, before_end):
    """[MQTT-3.1.2-4] to [MQTT-3.1.2-6], [MQTT-3.2.2-1] to [MQTT-3.2.2-3]."""
    first = connect("a", clean=False)
    assert not first.flags.session_present
    first.subscribe(f"{name}/x", 1)
    first.leave()
    assert connect("a", clean=False).flags.session_present
    third = connect("a", clean=True)
    assert not third.flags.session_present
    connect("p").publish(f"{name}/x", "nobody's")
    assert before_end(third) == []
    third.leave()
    assert not connect("a", clean=False).flags.session_present


def test_messages_wait_in_order_for_an_absent_subscriber(connect, name):
    """[MQTT-3.1.2-5], [MQTT-4.6.0-6]."""
    one = connect("a", clean=False)
    one.subscribe(f"{name}/#", 2)
    one.leave()
    publisher = connect("p")
    for number in range(20):
        publisher.publish(f"{name}/x", str(number), 1 + number % 2)
    one = connect("a", clean=False)
    got = [one.take() for _ in range(20)]
    for qos in (1, 2):
        assert payloads(m for m in got if m.qos == qos) == [str(n).encode() for n in range(qos - 1, 20, 2)]


def test_a_second_connection_takes_the_session_over(connect, name):
    """[MQTT-3.1.4-2]."""
    first = connect("a", clean=False)
    first.subscribe(f"{name}/x", 1)
    second = connect("a", clean=False)
    first.gone()
    assert second.flags.session_present
    connect("p").publish(f"{name}/x", "to the second")
    assert second.take().payload == b"to the second"


def test_clients_without_identifier_are_told_apart(connect, name):
    """[MQTT-3.1.3-6], [MQTT-3.1.3-7]: each has an identifier of its own, so neither takes the other's session over."""
    clients = [connect(), connect()]
    for one in clients:
        one.subscribe(f"{name}/x", 1)
    connect("p").publish(f"{name}/x", "to both")
    assert payloads(one.take() for one in clients) == [b"to both"] * 2


def test_qos1_is_repeated_with_dup_after_a_reconnect(connect, name, before_end):
    """[MQTT-4.4.0-1], [MQTT-3.3.1-1]."""
    one = connect("a", clean=False, manual=True)
    one.subscribe(f"{name}/x", 1)
    publisher = connect("p")
    for number in range(3):
        publisher.publish(f"{name}/x", str(number))
    first = [one.take() for _ in range(3)]
    one.paho.ack(first[0].mid, 1)
    one.subscribe(f"{name}/after", 0)  # its SUBACK shows that the PUBACK has arrived
    one.cut()
    again = connect("a", clean=False)
    second = [again.take() for _ in range(2)]
    assert [(m.payload, m.mid, m.dup) for m in second] == [(m.payload, m.mid, True) for m in first[1:]]
    assert before_end(again) == []


def test_qos2_after_pubrec_is_not_sent_again(connect, name, before_end):
    """§4.3.3, [MQTT-4.3.3-1]."""
    one = connect("a", clean=False, manual=True)
    one.subscribe(f"{name}/x", 2)
    connect("p").publish(f"{name}/x", "once", 2)
    assert one.take().payload == b"once"
    one.cut()
    assert before_end(connect("a", clean=False), 2) == []


def test_wills(connect, name, before_end):
    """[MQTT-3.1.2-8], [MQTT-3.1.2-10], [MQTT-3.1.2-17], [MQTT-3.1.2-24]."""
    watcher = connect("w")
    watcher.subscribe(f"{name}/will", 2)
    connect("a", will=(f"{name}/will", "not sent", 2)).leave()
    assert before_end(watcher, 2) == []
    connect("a", will=(f"{name}/will", "cut", 2, True)).cut()
    message = watcher.take()
    assert (message.payload, message.qos, message.retain) == (b"cut", 2, False)
    later = connect("l")
    later.subscribe(f"{name}/will", 2)
    assert later.take().retain
    connect("a", will=(f"{name}/will", "silent", 2), keep_alive_s=1).paho.loop_stop()  # its socket stays open
    assert watcher.take().payload == b"silent"


def test_retained_messages(connect, name, before_end):
    """[MQTT-3.3.1-6] to [MQTT-3.3.1-11]; each SUBSCRIBE brings them again [MQTT-3.8.4-3]."""
    publisher = connect("p")
    for payload in ("old", "new"):
        publisher.publish(f"{name}/x", payload, retain=True)
    one = connect("a")
    for _ in range(2):
        one.subscribe(f"{name}/+", 1)
        assert [(m.payload, m.retain) for m in before_end(one)] == [(b"new", True)]
    publisher.publish(f"{name}/x", "", retain=True)
    assert [(m.payload, m.retain) for m in before_end(one)] == [(b"", False)]
    one.subscribe(f"{name}/+", 1)
    assert before_end(one) == []


def test_overlapping_subscriptions(connect, name, before_end, beyond_mosquitto):
    """[MQTT-3.3.5-1]: the highest QoS of them; copies beyond are allowed."""
    beyond_mosquitto("2.0.11 sends one copy, with the lower QoS")
    one = connect("a")
    one.subscribe([(f"{name}/#", 2), (f"{name}/+/x", 1)])
    connect("p").publish(f"{name}/a/x", "m", 2)
    found = before_end(one, 2)
    assert set(payloads(found)) == {b"m"}
    assert max(message.qos for message in found) == 2


def test_the_lower_qos_of_both(connect, name, before_end):
    """§3.8.4, [MQTT-3.8.4-6]."""
    publisher = connect("p")
    for granted in range(3):
        one = connect(f"s{granted}")
        assert one.subscribe(f"{name}/{granted}", granted) == [granted]
        for qos in range(3):
            publisher.publish(f"{name}/{granted}", str(qos), qos)
        assert {int(m.payload): m.qos for m in before_end(one, granted)} == {q: min(q, granted) for q in range(3)}


def test_unsubscribe(connect, name, before_end):
    """[MQTT-3.10.4-2], [MQTT-3.10.4-5]: UNSUBACK also where there was no subscription."""
    one = connect("a")
    one.subscribe([(f"{name}/x", 1), (f"{name}/y", 1)])
    one.unsubscribe([f"{name}/x", f"{name}/never"])
    publisher = connect("p")
    publisher.publish(f"{name}/x", "x")
    publisher.publish(f"{name}/y", "y")
    assert payloads(before_end(one)) == [b"y"]


def test_a_subscription_is_refused_and_the_others_of_the_packet_are_not(connect, name):
    """§3.9.3: 0x80 Failure in the place of its filter."""
    assert connect("a").subscribe([(f"{name}/x", 2), ("forbidden/x", 1), (f"{name}/y", 0)]) == [2, 0x80, 0]


def test_wildcards_do_not_match_dollar_topics(connect, before_end):
    """[MQTT-4.7.2-1]."""
    one = connect("a")
    one.subscribe("$SYS/#", 1)
    assert one.take().topic.startswith("$SYS/")
    other = connect("b")
    other.subscribe("#", 1)
    assert not [message.topic for message in before_end(other) if message.topic.startswith("$")]


def test_topic_filters(connect, name, before_end):
    """§4.7.1: levels may be empty; `#` takes its parent; `+` exactly one level."""
    topics = [f"{name}/a", f"{name}/a/", f"{name}/a/b", f"{name}", f"{name}//b", f"/{name}"]
    expected = {
        f"{name}/#": set(topics[:5]),
        f"{name}/+": {f"{name}/a"},
        f"{name}/+/b": {f"{name}/a/b", f"{name}//b"},
        f"{name}/a/+": {f"{name}/a/", f"{name}/a/b"},
        f"+/{name}": {f"/{name}"},
    }
    clients = {topic_filter: connect(str(n)) for n, topic_filter in enumerate(expected)}
    for topic_filter, one in clients.items():
        one.subscribe(topic_filter, 1)
    publisher = connect("p")
    for topic in topics:
        publisher.publish(topic, "m")
    found = {f: {m.topic for m in before_end(one) if m.payload == b"m"} for f, one in clients.items()}
    assert found == expected
