"""`web` closes connections that bring no request, and keeps those that did."""

from __future__ import annotations

from typing import Any

from lectern.patience import CLOSED, Patience


class Connection:
    """What `Patience` sees of a connection."""

    closed = False

    def force_close(self) -> None:
        self.closed = True


def count(why: str) -> float:
    value: float = CLOSED.labels(why)._value.get()
    return value


def test_a_slow_head_is_waited_for_so_long_and_no_longer() -> None:
    patience, connections = Patience(head_s_max=10), [Connection(), Connection()]
    spoken: Any = connections[0]
    patience._spoken.add(spoken)
    before = count("slow")
    shown: Any = connections
    for now_s in (100.0, 105.0, 109.9):
        patience.look(shown, now_s)
        assert not any(one.closed for one in connections)
    patience.look(shown, 110.0)
    assert [one.closed for one in connections] == [False, True]
    assert count("slow") == before + 1
    patience.look([], 111.0)
    assert not patience._spoken and not patience._since_s


def test_where_there_are_too_many_the_oldest_without_a_request_go() -> None:
    patience = Patience(connections_max=3)
    connections: Any = [Connection() for _ in range(3)]
    patience.look(connections, 1.0)
    patience._spoken.add(connections[0])
    connections += [Connection() for _ in range(2)]
    patience.look(connections, 2.0)
    assert [one.closed for one in connections] == [False, True, True, False, False]
