"""Topic filters, the tree of subscriptions, and the tree of retained messages (MQTT 5 §4.7, §4.8.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Subscription", "SubscriptionTree", "TopicTree", "filter_is_valid", "split_share"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Subscription:
    """One session's subscription. `group` is empty unless it is shared; `topic_filter` is without `$share/<group>/`."""

    session: int
    topic_filter: str
    group: str = ""
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    identifier: int = 0

    @property
    def name(self) -> str:
        """The filter as the client wrote it."""
        return f"$share/{self.group}/{self.topic_filter}" if self.group else self.topic_filter


def filter_is_valid(topic_filter: str, levels_max: int, bytes_max: int) -> bool:
    """`#` alone and last, `+` alone in its level [MQTT-4.7.1-1, -2]; a share name without wildcards [MQTT-4.8.2-2]."""
    if not topic_filter or len(topic_filter.encode()) > bytes_max:
        return False
    if topic_filter.startswith("$share/"):
        group, _, rest = topic_filter[7:].partition("/")
        if not group or not rest or "+" in group or "#" in group:
            return False
        topic_filter = rest
    levels = topic_filter.split("/")
    if len(levels) > levels_max:
        return False
    return all(
        ("#" not in level or (level == "#" and index == len(levels) - 1)) and ("+" not in level or level == "+")
        for index, level in enumerate(levels)
    )


def split_share(topic_filter: str) -> tuple[str, str]:
    """(group, filter); the group is empty for an ordinary subscription."""
    if topic_filter.startswith("$share/"):
        group, _, rest = topic_filter[7:].partition("/")
        return group, rest
    return "", topic_filter


class _Node(Generic[T]):
    __slots__ = ("children", "values")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.values: dict[tuple[int, str], T] = {}


class SubscriptionTree:
    """Who wants a topic. Looked up for each message, so the answer per topic is kept until a subscription changes."""

    _CACHE_MAX = 8_192

    def __init__(self) -> None:
        self._root: _Node[Subscription] = _Node()
        self._cache: dict[str, tuple[Subscription, ...]] = {}
        self.count = 0

    def add(self, subscription: Subscription) -> None:
        """Replaces the same session's subscription to the same filter [MQTT-3.8.4-3]."""
        node = self._root
        for level in subscription.topic_filter.split("/"):
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = _Node()
            node = child
        key = (subscription.session, subscription.group)
        self.count += key not in node.values
        node.values[key] = subscription
        self._cache.clear()

    def remove(self, subscription: Subscription) -> None:
        path: list[tuple[_Node[Subscription], str]] = []
        node = self._root
        for level in subscription.topic_filter.split("/"):
            path.append((node, level))
            node = node.children[level]
        del node.values[(subscription.session, subscription.group)]
        self.count -= 1
        self._cache.clear()
        for parent, level in reversed(path):
            child = parent.children[level]
            if child.values or child.children:
                break
            del parent.children[level]

    def match(self, topic: str) -> tuple[Subscription, ...]:
        """All subscriptions whose filter matches, in the order of the tree."""
        found = self._cache.get(topic)
        if found is None:
            found = tuple(self._walk(topic))
            if len(self._cache) >= self._CACHE_MAX:
                self._cache.clear()
            self._cache[topic] = found
        return found

    def _walk(self, topic: str) -> Iterator[Subscription]:
        levels = topic.split("/")
        nodes = [self._root]
        # A filter that begins with a wildcard does not match a topic that begins with $ [MQTT-4.7.2-1].
        wild = not topic.startswith("$")
        for level in levels:
            following: list[_Node[Subscription]] = []
            for node in nodes:
                children = node.children
                if wild:
                    rest = children.get("#")
                    if rest is not None:
                        yield from rest.values.values()
                    any_one = children.get("+")
                    if any_one is not None:
                        following.append(any_one)
                exact = children.get(level)
                if exact is not None:
                    following.append(exact)
            wild = True
            nodes = following
            if not nodes:
                return
        for node in nodes:
            yield from node.values.values()
            rest = node.children.get("#")  # "sport/#" matches "sport" (§4.7.1.2)
            if rest is not None:
                yield from rest.values.values()


class TopicTree(Generic[T]):
    """Values by topic name, found by topic filter: the retained messages."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        self._values: dict[str, T] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self, topic: str) -> T | None:
        return self._values.get(topic)

    def values(self) -> list[T]:
        return list(self._values.values())

    def put(self, topic: str, value: T) -> None:
        node = self._root
        for level in topic.split("/"):
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = _Node()
            node = child
        node.values[(0, "")] = value
        self._values[topic] = value

    def pop(self, topic: str) -> T | None:
        value = self._values.pop(topic, None)
        if value is None:
            return None
        path: list[tuple[_Node[T], str]] = []
        node = self._root
        for level in topic.split("/"):
            path.append((node, level))
            node = node.children[level]
        node.values.clear()
        for parent, level in reversed(path):
            child = parent.children[level]
            if child.values or child.children:
                break
            del parent.children[level]
        return value

    def match(self, topic_filter: str) -> list[T]:
        found: list[T] = []
        levels = topic_filter.split("/")
        stack = [(self._root, 0)]
        while stack:
            node, depth = stack.pop()
            if depth == len(levels):
                found.extend(node.values.values())
                continue
            level = levels[depth]
            if level == "#":
                self._below(node, depth == 0, found)
            elif level == "+":
                stack.extend(
                    (child, depth + 1) for name, child in node.children.items() if depth or not name.startswith("$")
                )
            else:
                child = node.children.get(level)
                if child is not None:
                    stack.append((child, depth + 1))
        return found

    def _below(self, node: _Node[T], at_root: bool, found: list[T]) -> None:
        stack = [node]
        while stack:
            current = stack.pop()
            found.extend(current.values.values())
            stack.extend(
                child
                for name, child in current.children.items()
                if not (at_root and current is node and name.startswith("$"))
            )
