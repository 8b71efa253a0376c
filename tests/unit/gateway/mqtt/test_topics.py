"""The trees find what a level-by-level comparison finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from althing.gateway.ingest.mqtt.topics import Subscription, SubscriptionTree, TopicTree, filter_is_valid, split_share

level = st.sampled_from(["", "a", "b", "$SYS", "c"])
topic_names = st.lists(level, min_size=1, max_size=4).map("/".join).filter(bool)
filters = (
    st.tuples(st.lists(st.one_of(level, st.just("+")), max_size=4), st.booleans())
    .map(lambda pair: "/".join([*pair[0], "#"] if pair[1] else pair[0]))
    .filter(bool)
)


def matches(topic_filter, topic):
    """§4.7, as the standard tells it."""
    if topic.startswith("$") and topic_filter.startswith(("+", "#")):
        return False
    want, have = topic_filter.split("/"), topic.split("/")
    for index, name in enumerate(want):
        if name == "#":
            return True
        if index >= len(have) or name not in ("+", have[index]):
            return False
    return len(want) == len(have)


def matches_or_parent(topic_filter, topic):
    """`a/#` matches `a` too."""
    return matches(topic_filter, topic) or (
        topic_filter.endswith("/#") and matches(topic_filter[:-2], topic) and topic_filter != "/#"
    )


@given(st.lists(filters, max_size=12, unique=True), st.lists(topic_names, max_size=8), st.data())
def test_subscriptions(names, topics, data):
    tree = SubscriptionTree()
    subscriptions = [Subscription(number, name) for number, name in enumerate(names)]
    for one in subscriptions:
        tree.add(one)
    removed = set(data.draw(st.lists(st.sampled_from(subscriptions), unique=True))) if subscriptions else set()
    for topic in topics:
        tree.match(topic)
    for one in removed:
        tree.remove(one)
    assert tree.count == len(subscriptions) - len(removed)
    for topic in topics:
        expected = {one for one in subscriptions if one not in removed and matches_or_parent(one.topic_filter, topic)}
        assert set(tree.match(topic)) == expected
        assert len(tree.match(topic)) == len(expected)


@given(st.lists(topic_names, max_size=12, unique=True), st.lists(filters, max_size=8), st.data())
def test_retained_topics(topics, names, data):
    tree = TopicTree()
    for topic in topics:
        tree.put(topic, topic)
    gone = set(data.draw(st.lists(st.sampled_from(topics), unique=True))) if topics else set()
    for topic in gone:
        assert tree.pop(topic) == topic
        assert tree.pop(topic) is None
    assert len(tree) == len(topics) - len(gone)
    for name in names:
        expected = sorted(topic for topic in topics if topic not in gone and matches_or_parent(name, topic))
        assert sorted(tree.match(name)) == expected


def test_the_examples_of_the_standard():
    good = ["sport/tennis/player1/#", "sport/#", "#", "+", "+/tennis/#", "sport/+/player1", "/+", "+/+", "$share/g/#"]
    bad = ["sport/tennis#", "sport/tennis/#/ranking", "sport+", "", "$share/g", "$share/g/", "$share//a", "$share/#/a"]
    assert all(filter_is_valid(name, 10, 100) for name in good)
    assert not any(filter_is_valid(name, 10, 100) for name in bad)
    assert not filter_is_valid("a/b/c", 2, 100)
    assert not filter_is_valid("ü" * 60, 10, 100)
    assert split_share("$share/consumer1/sport/tennis/+") == ("consumer1", "sport/tennis/+")
    assert Subscription(1, "a/b", "g").name == "$share/g/a/b"
