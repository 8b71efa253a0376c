"""MQTT 5.0 (OASIS Standard, 7 March 2019) as a client sees it, asked of our server and of Mosquitto."""

from __future__ import annotations

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from .conftest import KEEP_ALIVE_S_MAX, PACKET_BYTES_MAX, properties


@pytest.fixture
def version():
    return paho.MQTTv5


def payloads(messages):
    return [message.payload for message in messages]


# --- sessions


def test_clean_start_discards_and_expiry_keeps_a_session(connect, name, before_end):
    """§3.1.2.4, §3.1.2.11.2, [MQTT-3.2.2-2], [MQTT-3.2.2-3]."""
    first = connect("a", clean=False, SessionExpiryInterval=100)
    assert not first.flags.session_present
    first.subscribe(f"{name}/x", 2)
    first.leave()
    second = connect("a", clean=False, SessionExpiryInterval=100)
    assert second.flags.session_present
    connect("p").publish(f"{name}/x", "still subscribed", 2)
    assert second.take().payload == b"still subscribed"
    second.leave()
    third = connect("a", clean=True)
    assert not third.flags.session_present
    connect("p").publish(f"{name}/x", "nobody's", 2)
    assert before_end(third, 2) == []


def test_a_session_ends_when_its_expiry_has_passed(connect, name, pass_time):
    """§3.1.2.11.2: [MQTT-4.1.0-2] the state is discarded after the network connection closed and the interval passed."""
    one = connect("a", clean=False, SessionExpiryInterval=1)
    one.subscribe(f"{name}/x", 1)
    one.leave()
    pass_time(3)
    assert not connect("a", clean=False, SessionExpiryInterval=1).flags.session_present


def test_disconnect_may_end_the_session(connect):
    """§3.14.2.2.2: DISCONNECT sets another Session Expiry Interval."""
    one = connect("a", clean=False, SessionExpiryInterval=100)
    one.leave(properties=properties(PacketTypes.DISCONNECT, SessionExpiryInterval=0))
    assert not connect("a", clean=False, SessionExpiryInterval=100).flags.session_present


def test_messages_wait_in_order_for_an_absent_subscriber(connect, name):
    """§4.1, [MQTT-4.6.0-6]; properties of the message wait with it."""
    one = connect("a", clean=False, SessionExpiryInterval=100)
    one.subscribe(f"{name}/x", 2)
    one.leave()
    publisher = connect("p")
    for number in range(20):
        publisher.publish(f"{name}/x", str(number), 1 + number % 2, UserProperty=[("number", str(number))])
    one = connect("a", clean=False, SessionExpiryInterval=100)
    got = [one.take() for _ in range(20)]
    for qos in (1, 2):
        found = [(m.payload, m.properties.UserProperty) for m in got if m.qos == qos]
        assert found == [(str(n).encode(), [("number", str(n))]) for n in range(qos - 1, 20, 2)]


def test_a_second_connection_takes_the_session_over(connect, name):
    """[MQTT-3.1.4-3]: the first is closed; the session goes on."""
    first = connect("a", clean=False, SessionExpiryInterval=100)
    first.subscribe(f"{name}/x", 1)
    second = connect("a", clean=False, SessionExpiryInterval=100)
    first.gone()
    assert second.flags.session_present
    connect("p").publish(f"{name}/x", "to the second")
    assert second.take().payload == b"to the second"


def test_who_loses_a_session_is_told_so(connect, beyond_mosquitto):
    """[MQTT-3.1.4-3]: DISCONNECT with 0x8E before the close."""
    beyond_mosquitto("2.0.11 closes without a word")
    first = connect("a", clean=False, SessionExpiryInterval=100)
    connect("a", clean=False, SessionExpiryInterval=100)
    assert first.gone() == 0x8E


def test_a_client_without_identifier_is_assigned_one(connect):
    """§3.2.2.3.7, [MQTT-3.2.2-16]; with it the session can be taken up."""
    one = connect(SessionExpiryInterval=100)
    assigned = one.stated.AssignedClientIdentifier
    assert assigned
    assert connect().stated.AssignedClientIdentifier != assigned
    one.leave()
    again = connect(opens=False, clean=False, SessionExpiryInterval=100)
    again.paho._client_id = assigned.encode()  # the fixture gives its own names
    assert again.open().flags.session_present


# --- redelivery


def test_qos1_is_repeated_with_dup_after_a_reconnect(connect, name, before_end):
    """[MQTT-4.4.0-1], [MQTT-3.3.1-1]: unacknowledged messages again, with their packet identifiers, in order."""
    one = connect("a", clean=False, manual=True, SessionExpiryInterval=100)
    one.subscribe(f"{name}/x", 1)
    publisher = connect("p")
    for number in range(3):
        publisher.publish(f"{name}/x", str(number))
    first = [one.take() for _ in range(3)]
    assert not any(message.dup for message in first)
    one.paho.ack(first[0].mid, 1)
    one.subscribe(f"{name}/after", 0)  # its SUBACK shows that the PUBACK has arrived
    one.cut()
    again = connect("a", clean=False, manual=True, SessionExpiryInterval=100)
    second = [again.take() for _ in range(2)]
    assert [(m.payload, m.mid, m.dup) for m in second] == [(m.payload, m.mid, True) for m in first[1:]]
    for message in second:
        again.paho.ack(message.mid, 1)
    again.subscribe(f"{name}/after", 0)
    again.cut()
    last = connect("a", clean=False, SessionExpiryInterval=100)
    assert before_end(last) == []


def test_qos2_without_pubrec_is_repeated_and_arrives_once(connect, name, before_end):
    """§4.3.3, [MQTT-4.4.0-1]."""
    one = connect("a", clean=False, opens=False, SessionExpiryInterval=100)
    one.paho._send_pubrec = lambda mid: 0  # paho has no public way to withhold it
    publisher = connect("p")
    one.open().subscribe(f"{name}/x", 2)
    one.subscribe(f"{name}/flag", 0)
    publisher.publish(f"{name}/x", "once", 2)
    publisher.publish(f"{name}/flag", "it is out", 1)
    assert one.take().payload == b"it is out"
    one.cut()
    again = connect("a", clean=False, SessionExpiryInterval=100)
    message = again.take()
    assert (message.payload, message.dup) == (b"once", True)
    assert before_end(again, 2) == []


def test_qos2_after_pubrec_is_not_sent_again(connect, name, before_end):
    """[MQTT-4.3.3-5]: once PUBREC came only PUBREL is repeated."""
    one = connect("a", clean=False, manual=True, SessionExpiryInterval=100)
    one.subscribe(f"{name}/x", 2)
    connect("p").publish(f"{name}/x", "once", 2)
    assert one.take().payload == b"once"  # PUBREL is here, PUBCOMP is withheld
    one.cut()
    again = connect("a", clean=False, SessionExpiryInterval=100)
    assert before_end(again, 2) == []


def test_a_qos2_publish_that_a_client_repeats_is_delivered_once(connect, name, before_end):
    """[MQTT-4.3.3-10]: the same packet identifier is the same message until PUBREL."""
    watcher = connect("w")
    watcher.subscribe(f"{name}/x", 2)
    one = connect("a", clean=False, SessionExpiryInterval=100)
    handle = one.paho._handle_pubrec

    def lose_it():
        one.paho.socket().shutdown(2)  # PUBREC is lost with the connection
        return 0

    one.paho._handle_pubrec = lose_it
    one.paho.publish(f"{name}/x", "once", 2)
    one.gone()
    one.paho._handle_pubrec = handle
    one.open()
    assert one.flags.session_present
    assert one._published.get(timeout=15).value == 0
    assert payloads(before_end(watcher, 2)) == [b"once"]


# --- wills


def test_a_will_is_sent_when_the_connection_is_cut_with_its_properties(connect, name):
    """§3.1.2.5, §3.1.3.2."""
    watcher = connect("w")
    watcher.subscribe(f"{name}/will", 2)
    stated = properties(PacketTypes.WILLMESSAGE, ContentType="text/plain", UserProperty=[("k", "v")], ResponseTopic="r")
    connect("a", True, (f"{name}/will", "gone", 2), stated).cut()
    message = watcher.take()
    assert (message.payload, message.qos) == (b"gone", 2)
    assert message.properties.ContentType == "text/plain"
    assert message.properties.UserProperty == [("k", "v")]
    assert message.properties.ResponseTopic == "r"


def test_disconnect_0_deletes_the_will_and_4_sends_it(connect, name, before_end):
    """[MQTT-3.14.4-3], §3.14.2.1."""
    watcher = connect("w")
    watcher.subscribe(f"{name}/will", 1)
    connect("a", True, (f"{name}/will", "not sent", 1)).leave()
    assert before_end(watcher) == []
    with_will = ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message")
    connect("a", True, (f"{name}/will", "sent", 1)).leave(reasoncode=with_will)
    assert watcher.take().payload == b"sent"


def test_a_will_waits_for_its_delay_and_not_for_a_client_that_came_back(connect, name, before_end, pass_time):
    """§3.1.3.2.2, [MQTT-3.1.3-9]."""
    watcher = connect("w")
    watcher.subscribe(f"{name}/will/+", 1)
    delay = properties(PacketTypes.WILLMESSAGE, WillDelayInterval=1)
    connect("back", True, (f"{name}/will/back", "no", 1), delay, SessionExpiryInterval=100).cut()
    connect("away", True, (f"{name}/will/away", "yes", 1), delay, SessionExpiryInterval=100).cut()
    assert before_end(watcher) == []
    connect("back", clean=False, SessionExpiryInterval=100)
    pass_time(3)
    assert payloads(before_end(watcher)) == [b"yes"]


def test_a_delayed_will_comes_with_the_end_of_the_session(connect, name):
    """§3.1.3.2.2: at the delay or the session's end, whichever is first."""
    watcher = connect("w")
    watcher.subscribe(f"{name}/will", 1)
    delay = properties(PacketTypes.WILLMESSAGE, WillDelayInterval=1_000)
    connect("a", True, (f"{name}/will", "ended", 1), delay, SessionExpiryInterval=1).cut()
    assert watcher.take().payload == b"ended"


def test_a_retained_will_is_kept(connect, name):
    """[MQTT-3.1.2-15]."""
    watcher = connect("w")
    watcher.subscribe(f"{name}/will", 1)
    connect("a", True, (f"{name}/will", "gone", 1, True)).cut()
    assert not watcher.take().retain
    later = connect("l")
    later.subscribe(f"{name}/will", 1)
    assert later.take().retain


# --- subscriptions


def test_no_local(connect, name, before_end):
    """[MQTT-3.8.3-3]."""
    one, other = connect("a"), connect("b")
    for client in (one, other):
        client.subscribe(f"{name}/x", options=SubscribeOptions(1, noLocal=True))
    one.publish(f"{name}/x", "mine")
    assert other.take().payload == b"mine"
    assert before_end(one) == []


@pytest.mark.parametrize("as_published", [False, True])
def test_retain_as_published(connect, name, as_published):
    """[MQTT-3.3.1-12], [MQTT-3.3.1-13]."""
    one = connect("a")
    one.subscribe(f"{name}/x", options=SubscribeOptions(1, retainAsPublished=as_published))
    publisher = connect("p")
    publisher.publish(f"{name}/x", "kept", retain=True)
    publisher.publish(f"{name}/x", "passing")
    assert [one.take().retain for _ in range(2)] == [as_published, False]


def test_retain_handling(connect, name, before_end):
    """[MQTT-3.3.1-9] (0), [MQTT-3.3.1-10] (1), [MQTT-3.3.1-11] (2)."""
    connect("p").publish(f"{name}/x", "kept", retain=True)
    for handling, first, second in ((0, [b"kept"], [b"kept"]), (1, [b"kept"], []), (2, [], [])):
        one = connect(f"h{handling}")
        for expected in (first, second):
            one.subscribe(f"{name}/x", options=SubscribeOptions(1, retainHandling=handling))
            assert payloads(before_end(one)) == expected


def test_subscription_identifiers(connect, name, before_end):
    """[MQTT-3.3.4-3]; a new SUBSCRIBE replaces the identifier (§3.8.4)."""
    one = connect("a")
    one.subscribe(f"{name}/x", 1, identifier=7)
    one.subscribe(f"{name}/y", 1, identifier=268_435_455)
    publisher = connect("p")
    publisher.publish(f"{name}/x", "x")
    publisher.publish(f"{name}/y", "y")
    assert one.take().properties.SubscriptionIdentifier == [7]
    assert one.take().properties.SubscriptionIdentifier == [268_435_455]
    one.subscribe(f"{name}/x", 1, identifier=8)
    publisher.publish(f"{name}/x", "x again")
    found = before_end(one)
    assert [(message.payload, message.properties.SubscriptionIdentifier) for message in found] == [(b"x again", [8])]


def test_overlapping_subscriptions(connect, name, before_end):
    """[MQTT-3.3.4-2]: one copy with the highest QoS, or one for each subscription."""
    one = connect("a")
    one.subscribe(f"{name}/#", 2)
    one.subscribe(f"{name}/+/x", 1)
    connect("p").publish(f"{name}/a/x", "m", 2)
    found = before_end(one, 2)
    assert payloads(found) in ([b"m"], [b"m", b"m"])
    assert sorted(message.qos for message in found) in ([2], [1, 2])


def test_shared_subscriptions(connect, name, before_end):
    """§4.8.2: each message to one member of the group, beside everybody else."""
    members = [connect(f"m{number}") for number in range(3)]
    outsider = connect("o")
    outsider.subscribe(f"{name}/x", 1)
    for member in members:
        member.subscribe(f"$share/group-{name}/{name}/x", 1)
    publisher = connect("p")
    sent = [str(number).encode() for number in range(30)]
    for payload in sent:
        publisher.publish(f"{name}/x", payload)
    assert payloads(outsider.take() for _ in range(30)) == sent
    shares = [payloads(before_end(member)) for member in members]
    assert sorted(payload for share in shares for payload in share) == sorted(sent)
    assert all(shares), "every member took part"


def test_a_shared_subscription_brings_no_retained_messages(connect, name, before_end, beyond_mosquitto):
    """§3.3.1.3: they are sent when a new non-shared subscription is made."""
    beyond_mosquitto("2.0.11 sends them")
    connect("p").publish(f"{name}/x", "kept", retain=True)
    one = connect("a")
    one.subscribe(f"$share/group-{name}/{name}/#", 1)
    assert before_end(one) == []


def test_unsubscribe(connect, name, before_end):
    """[MQTT-3.10.4-1], §3.11.3: 0x00, and 0x11 where there was none."""
    one = connect("a")
    one.subscribe([(f"{name}/x", SubscribeOptions(1)), (f"{name}/y", SubscribeOptions(1))])
    assert one.unsubscribe([f"{name}/x", f"{name}/never"]) == [0x00, 0x11]
    publisher = connect("p")
    publisher.publish(f"{name}/x", "x")
    publisher.publish(f"{name}/y", "y")
    assert payloads(before_end(one)) == [b"y"]


def test_a_subscription_is_refused_and_the_others_of_the_packet_are_not(connect, name):
    """§3.9.3: one reason code per filter, in order; 0x87 Not authorized."""
    one = connect("a")
    wanted = [(f"{name}/x", 2), ("forbidden/x", 1), (f"{name}/y", 0)]
    codes = one.subscribe([(topic_filter, SubscribeOptions(qos)) for topic_filter, qos in wanted])
    assert codes == [2, 0x87, 0]


def test_wildcards_do_not_match_dollar_topics(connect, before_end):
    """[MQTT-4.7.2-1]."""
    one = connect("a")
    one.subscribe("$SYS/#", 1)
    assert one.take().topic.startswith("$SYS/")
    other = connect("b")
    other.subscribe("#", 1)
    other.subscribe("+/broker/#", 1)
    assert not [message.topic for message in before_end(other) if message.topic.startswith("$")]


# --- retained messages


def test_retained_messages_are_replaced_and_cleared(connect, name, before_end):
    """[MQTT-3.3.1-5], [MQTT-3.3.1-6], [MQTT-3.3.1-8]."""
    publisher = connect("p")
    for payload in ("old", "new"):
        publisher.publish(f"{name}/x", payload, retain=True, UserProperty=[("p", payload)])
    publisher.publish(f"{name}/x", "passing")
    one = connect("a")
    one.subscribe(f"{name}/+", 1)
    message = one.take()
    assert (message.payload, message.retain) == (b"new", True)
    assert message.properties.UserProperty == [("p", "new")]
    publisher.publish(f"{name}/x", "", retain=True)
    assert payloads(before_end(one)) == [b""]
    other = connect("b")
    other.subscribe(f"{name}/+", 1)
    assert before_end(other) == []


# --- properties


def test_properties_of_a_message_reach_the_subscriber_unaltered(connect, name):
    """[MQTT-3.3.2-4], [-15], [-16], [-17], [-18], [-20]: format, response topic, correlation, user properties, type."""
    one = connect("a")
    one.subscribe(f"{name}/x", 1)
    pairs = [("b", "2"), ("a", "1"), ("a", "1"), ("", "empty"), ("ü", "日本")]
    connect("p").publish(
        f"{name}/x",
        "m",
        PayloadFormatIndicator=1,
        ContentType="text/plain",
        ResponseTopic=f"{name}/answer",
        CorrelationData=b"\x00\xff",
        UserProperty=pairs,
    )
    found = one.take().properties
    assert found.PayloadFormatIndicator == 1
    assert found.ContentType == "text/plain"
    assert found.ResponseTopic == f"{name}/answer"
    assert found.CorrelationData == b"\x00\xff"
    assert found.UserProperty == pairs


def test_request_and_response(connect, name):
    """§4.10.1."""
    asker, answerer = connect("asker"), connect("answerer")
    asker.subscribe(f"{name}/answers", 1)
    answerer.subscribe(f"{name}/questions", 1)
    asker.publish(f"{name}/questions", "ping", ResponseTopic=f"{name}/answers", CorrelationData=b"7")
    question = answerer.take()
    answerer.publish(question.properties.ResponseTopic, b"pong", CorrelationData=question.properties.CorrelationData)
    answer = asker.take()
    assert (answer.payload, answer.properties.CorrelationData) == (b"pong", b"7")


def test_message_expiry(connect, name, before_end, pass_time):
    """[MQTT-3.3.2-5], [MQTT-3.3.2-6]: an expired message is not delivered, another says what is left of its time."""
    one = connect("a", clean=False, SessionExpiryInterval=100)
    one.subscribe(f"{name}/x", 1)
    one.leave()
    publisher = connect("p")
    publisher.publish(f"{name}/x", "short", MessageExpiryInterval=1)
    publisher.publish(f"{name}/x", "long", MessageExpiryInterval=50)
    publisher.publish(f"{name}/x", "for ever")
    publisher.publish(f"{name}/kept", "short", retain=True, MessageExpiryInterval=1)
    pass_time(3)
    one = connect("a", clean=False, SessionExpiryInterval=100)
    found = before_end(one)
    assert payloads(found) == [b"long", b"for ever"]
    assert 0 < found[0].properties.MessageExpiryInterval <= 48
    assert not hasattr(found[1].properties, "MessageExpiryInterval")
    one.subscribe(f"{name}/kept", 1)
    assert before_end(one) == []


def test_topic_aliases_of_the_client(connect, name):
    """§3.3.2.3.4: an alias stands for its topic, a new topic replaces it; not above what CONNACK allows."""
    one = connect("a")
    one.subscribe(f"{name}/#", 1)
    publisher = connect("p")
    assert publisher.stated.TopicAliasMaximum >= 1
    for topic, payload in ((f"{name}/x", "1"), ("", "2"), (f"{name}/y", "3"), ("", "4")):
        publisher.publish(topic, payload, TopicAlias=1)
    expected = [(f"{name}/x", b"1"), (f"{name}/x", b"2"), (f"{name}/y", b"3"), (f"{name}/y", b"4")]
    found = [one.take() for _ in range(4)]
    assert [(message.topic, message.payload) for message in found] == expected
    assert not any(hasattr(message.properties, "TopicAlias") for message in found), "the receiver allowed none"


def test_an_alias_above_the_maximum_is_refused(connect, name):
    """[MQTT-3.3.2-9], 0x94 Topic Alias invalid."""
    publisher = connect("p")
    alias = publisher.stated.TopicAliasMaximum + 1
    publisher.paho.publish(f"{name}/x", "m", 1, properties=properties(PacketTypes.PUBLISH, TopicAlias=alias))
    assert publisher.gone() == 0x94


def test_topic_aliases_of_the_server(connect, name):
    """[MQTT-3.1.2-26], [MQTT-3.1.2-27]: none above the client's maximum; one without a topic was given before."""
    one = connect("a", TopicAliasMaximum=2)
    one.subscribe(f"{name}/#", 1)
    publisher = connect("p")
    sent = [(f"{name}/{number % 3}", str(number).encode()) for number in range(9)]
    for topic, payload in sent:
        publisher.publish(topic, payload)
    aliases, got = {}, []
    for _ in sent:
        message = one.take()
        alias = getattr(message.properties, "TopicAlias", 0)
        assert alias <= 2
        if alias and message.topic:
            aliases[alias] = message.topic
        got.append((message.topic or aliases[alias], message.payload))
    assert got == sent


# --- limits


def test_receive_maximum_of_the_client(connect, name):
    """[MQTT-3.3.4-9]: no more QoS 1 and 2 unacknowledged than the client takes; QoS 0 is not held up."""
    one = connect("a", manual=True, ReceiveMaximum=2)
    one.subscribe([(f"{name}/x", SubscribeOptions(2)), (f"{name}/flag", SubscribeOptions(0))])
    publisher = connect("p")
    for number in range(5):
        publisher.publish(f"{name}/x", str(number))
    publisher.publish(f"{name}/flag", "flag")
    flying = [one.take(), one.take()]
    assert payloads(flying) == [b"0", b"1"]
    assert one.take().payload == b"flag"
    for number in range(2, 5):
        one.paho.ack(flying.pop(0).mid, 1)
        flying.append(one.take())
        assert flying[-1].payload == str(number).encode()


def test_more_messages_than_the_server_takes_at_once(connect, name):
    """§3.2.2.3.3, §4.9: the client waits for acknowledgements; all arrive, in order."""
    one = connect("a")
    one.subscribe(f"{name}/x", 2)
    publisher = connect("p", opens=False)
    publisher.paho.max_inflight_messages_set(getattr(one.stated, "ReceiveMaximum", 600))
    publisher.open()
    waits = [publisher.paho.publish(f"{name}/x", str(number), 2) for number in range(600)]
    got = [int(one.take().payload) for _ in waits]
    assert got == list(range(600))
    assert all(publisher._published.get(timeout=15).value == 0 for _ in waits)


def test_maximum_packet_size_of_the_client(connect, name, before_end):
    """[MQTT-3.1.2-24], [MQTT-3.1.2-25]: what is too large is not sent, and counts as delivered."""
    one = connect("a", MaximumPacketSize=100)
    one.subscribe(f"{name}/x", 1)
    publisher = connect("p")
    for size in (10, 200, 11):
        publisher.publish(f"{name}/x", "x" * size)
    assert [len(message.payload) for message in before_end(one)] == [10, 11]


def test_maximum_packet_size_of_the_server(connect, name):
    """§3.2.2.3.6: told in CONNACK; beyond it 0x95 Packet too large."""
    publisher = connect("p")
    assert publisher.stated.MaximumPacketSize == PACKET_BYTES_MAX
    publisher.publish(f"{name}/x", "x" * (PACKET_BYTES_MAX - 200))
    publisher.paho.publish(f"{name}/x", "x" * (PACKET_BYTES_MAX + 1), 1)
    assert publisher.gone() == 0x95


def test_server_keep_alive(connect):
    """§3.2.2.3.14, [MQTT-3.2.2-21]: the server may shorten it, and says so only then."""
    assert connect("long", keep_alive_s=KEEP_ALIVE_S_MAX + 1).stated.ServerKeepAlive == KEEP_ALIVE_S_MAX
    assert not hasattr(connect("short", keep_alive_s=30).stated, "ServerKeepAlive")


def test_a_silent_client_is_closed_and_its_will_sent(connect, name):
    """[MQTT-3.1.2-22]: after one and a half times the keep-alive."""
    watcher = connect("w")
    watcher.subscribe(f"{name}/will", 1)
    connect("a", True, (f"{name}/will", "silent", 1), keep_alive_s=1).paho.loop_stop()  # its socket stays open
    assert watcher.take().payload == b"silent"
