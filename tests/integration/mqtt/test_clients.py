"""Stock clients against the server: paho-mqtt and Mosquitto's command line tools."""

from __future__ import annotations

import queue
import subprocess
import threading

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions


class Client:
    """A paho client whose callbacks end in queues."""

    def __init__(self, port, name, version, user="", will=None, clean=True, expiry=0):
        self.messages = queue.Queue()
        self.connected = queue.Queue()
        self.subscribed = queue.Queue()
        self.published = queue.Queue()
        self.gone = threading.Event()
        extra = {} if version == paho.MQTTv5 else {"clean_session": clean}
        self.paho = paho.Client(paho.CallbackAPIVersion.VERSION2, name, protocol=version, **extra)
        if user:
            self.paho.username_pw_set(user, "token")
        if will:
            self.paho.will_set(*will)
        self.paho.on_connect = lambda c, u, flags, reason, properties: self.connected.put((flags, reason, properties))
        self.paho.on_message = lambda c, u, message: self.messages.put(message)
        self.paho.on_subscribe = lambda c, u, mid, reasons, properties: self.subscribed.put(reasons)
        self.paho.on_publish = lambda c, u, mid, reason, properties: self.published.put(reason)
        self.paho.on_disconnect = lambda *_: self.gone.set()
        if version == paho.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = expiry
            self.paho.connect("127.0.0.1", port, clean_start=clean, properties=properties)
        else:
            self.paho.connect("127.0.0.1", port)
        self.paho.loop_start()
        self.flags, self.reason, self.properties = self.connected.get(timeout=5)

    def stop(self):
        self.paho.disconnect()
        self.gone.wait(5)
        self.paho.loop_stop()

    def drop(self):
        self.paho.loop_stop()
        self.paho.socket().close()


@pytest.fixture
def paho_client(server):
    opened = []

    def connect(name, version=paho.MQTTv5, **more):
        one = Client(server.port, name, version, **more)
        opened.append(one)
        return one

    yield connect
    for one in opened:
        one.paho.loop_stop()


VERSIONS = [paho.MQTTv31, paho.MQTTv311, paho.MQTTv5]


@pytest.mark.parametrize("version", VERSIONS)
def test_publish_and_subscribe(paho_client, version):
    client = paho_client("c", version)
    client.paho.subscribe("TopicA", 2)
    client.subscribed.get(timeout=5)
    for qos in (0, 1, 2):
        client.paho.publish("TopicA", f"qos {qos}", qos).wait_for_publish(5)
    got = {client.messages.get(timeout=5).payload for _ in range(3)}
    assert got == {b"qos 0", b"qos 1", b"qos 2"}
    client.stop()


@pytest.mark.parametrize("version", VERSIONS)
def test_offline_queue(paho_client, version):
    more = {"clean": False, "expiry": 1000}
    client = paho_client("c", version, **more)
    client.paho.subscribe("+/+", 2)
    client.subscribed.get(timeout=5)
    client.stop()
    other = paho_client("o", version)
    for qos, topic in enumerate(("TopicA/B", "Topic/C", "TopicA/C")):
        other.paho.publish(topic, f"qos {qos}", qos).wait_for_publish(5)
    client = paho_client("c", version, **more)
    assert client.flags.session_present or version == paho.MQTTv31
    assert {client.messages.get(timeout=5).payload for _ in range(2)} == {b"qos 1", b"qos 2"}


@pytest.mark.parametrize("version", VERSIONS)
def test_retained_and_cleared(paho_client, version):
    client = paho_client("c", version)
    topics = ["TopicA/B", "Topic/C", "TopicA/C"]
    for qos, topic in enumerate(topics):
        client.paho.publish(topic, "kept", qos, retain=True).wait_for_publish(5)
    client.paho.subscribe("+/+", 2)
    found = [client.messages.get(timeout=5) for _ in range(3)]
    assert {(one.topic, one.qos) for one in found} == {(topic, qos) for qos, topic in enumerate(topics)}
    assert all(one.retain for one in found)
    client.paho.unsubscribe("+/+")
    for qos, topic in enumerate(topics):
        client.paho.publish(topic, "", qos, retain=True).wait_for_publish(5)
    other = paho_client("d", version)
    other.paho.subscribe("+/+", 2)
    other.subscribed.get(timeout=5)
    other.paho.publish("end/end", "end", 1)
    assert other.messages.get(timeout=5).payload == b"end"


@pytest.mark.parametrize("version", VERSIONS)
def test_will(paho_client, version):
    watcher = paho_client("w", version)
    watcher.paho.subscribe("Topic/C", 2)
    watcher.subscribed.get(timeout=5)
    paho_client("c", version, will=("Topic/C", "client not disconnected", 2, False)).drop()
    assert watcher.messages.get(timeout=5).payload == b"client not disconnected"


def test_a_thousand_messages_both_ways(paho_client, server):
    sub = paho_client("sub", user="dev")
    sub.paho.subscribe("althing/v1/dev/+", 2)
    sub.subscribed.get(timeout=5)
    pub = paho_client("pub", user="dev")
    for i in range(1000):
        pub.paho.publish(f"althing/v1/dev/s{i % 3}", str(i), i % 3)
    got = {int(sub.messages.get(timeout=10).payload) for _ in range(1000)}
    assert got == set(range(1000))
    assert server.metrics.ingested == 1000


def test_options_and_identifiers_of_mqtt5(paho_client):
    client = paho_client("c")
    properties = Properties(PacketTypes.SUBSCRIBE)
    properties.SubscriptionIdentifier = 456789
    client.paho.subscribe(
        [("TopicA", SubscribeOptions(2, noLocal=True)), ("TopicA/#", SubscribeOptions(1))], properties=properties
    )
    assert [reason.value for reason in client.subscribed.get(timeout=5)] == [2, 1]
    client.paho.publish("TopicA", "own", 1)
    message = client.messages.get(timeout=5)
    assert message.properties.SubscriptionIdentifier == [456789]
    assert client.messages.empty()


def mosquitto(tool, server, *arguments, **more):
    command = [tool, "-h", "127.0.0.1", "-p", str(server.port), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, **more)


@pytest.mark.needs_mosquitto
@pytest.mark.parametrize("version", ["mqttv31", "mqttv311", "mqttv5"])
@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_mosquitto_pub(server, version, qos):
    done = mosquitto(
        "mosquitto_pub",
        server,
        "-V",
        version,
        "-q",
        qos,
        "-u",
        "dev",
        "-i",
        "x",
        "-t",
        "althing/v1/dev/temp",
        "-m",
        "21.5",
    )
    assert done.returncode == 0, done.stderr
    item = server.intake.arrived.get(timeout=5)
    assert (item.device, item.stream, item.body) == ("dev", "temp", b"21.5")


@pytest.mark.needs_mosquitto
@pytest.mark.parametrize("version", ["mqttv31", "mqttv311", "mqttv5"])
def test_mosquitto_sub(server, version):
    mosquitto("mosquitto_pub", server, "-V", version, "-q", "1", "-r", "-t", "x/y", "-m", "kept")
    done = mosquitto("mosquitto_sub", server, "-V", version, "-q", "2", "-t", "x/#", "-C", "1", "-v", "-i", "s")
    assert done.stdout == "x/y kept\n"


@pytest.mark.needs_mosquitto
def test_mosquitto_sees_the_reason_of_a_refusal(server):
    done = mosquitto(
        "mosquitto_pub", server, "-V", "mqttv5", "-q", "1", "-u", "thief", "-t", "althing/v1/dev/temp", "-m", "1", "-d"
    )
    assert "Not authorized" in done.stdout + done.stderr


@pytest.mark.needs_mosquitto
def test_mosquitto_rr(server):
    answerer = Client(server.port, "answerer", paho.MQTTv5)

    def answer(client, userdata, message):
        properties = Properties(PacketTypes.PUBLISH)
        properties.CorrelationData = message.properties.CorrelationData
        client.publish(message.properties.ResponseTopic, b"pong " + message.payload, 1, properties=properties)

    answerer.paho.on_message = answer
    answerer.paho.subscribe("ask", 1)
    answerer.subscribed.get(timeout=5)
    correlate = ("-D", "publish", "correlation-data", "7")
    done = mosquitto(
        "mosquitto_rr", server, "-V", "mqttv5", "-q", "1", "-t", "ask", "-e", "answer", *correlate, "-m", "ping"
    )
    assert done.stdout == "pong ping\n", done.stderr
    answerer.stop()
