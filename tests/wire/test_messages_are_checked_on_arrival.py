"""What one process sends another arrives as it was, or is refused with the field's name."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sfu.offers import an_opening
from wire import codec
from wire.beat import Beat, HeldSession, Load, SessionEvent
from wire.session import Answer, Candidate, OpenSession, Outgoing, SessionOpened

OPENED = SessionOpened(
    Answer(
        ice_ufrag="u",
        ice_pwd="p",
        fingerprint=("sha-256", "AB"),
        dtls_role="server",
        candidates=(Candidate("192.0.2.1", 7900), Candidate("192.0.2.1", 7901, "tcp")),
        outgoing={"0": Outgoing(1, "c", "screen", "video", 2), "1": Outgoing(3, "c", "mic", "mic")},
        rids={"0": ("h", "l")},
    ),
    "secret",
)
BEAT = Beat(
    node_id="n",
    sequence=1,
    cursor=0,
    load=Load(sessions=1, classes=1, egress_bps=8, cpu=1, loop_lag_ms=0.5),
    events=(SessionEvent("ended", "s", 1, 20, "left"), SessionEvent("connected", "t", 2, 0)),
    digest=b"\0" * 16,
    sessions=(HeldSession("t", 2, True),),
)


@pytest.mark.parametrize("message", [an_opening(), an_opening("publisher"), OPENED, BEAT])
def test_a_message_arrives_as_it_was(message: Any) -> None:
    arrived = codec.unpack(type(message), codec.pack(message))
    assert arrived == message
    # A float that was written as a whole number arrives as a float.
    assert all(
        type(getattr(arrived, f.name)) is type(getattr(message, f.name)) for f in fields(message)
    )


def plain(message: Any) -> Any:
    return msgpack.unpackb(codec.pack(message))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("fence",), True, "OpenSession.fence: expected int, got bool"),
        (("fence",), 1.0, "OpenSession.fence: expected int, got float"),
        (("role",), "king", "OpenSession.role: 'king' is none of ('publisher', 'viewer')"),
        (("role",), ["viewer"], "OpenSession.role: ['viewer'] is none of"),
        (("offer",), [], "OpenSession.offer: expected a map"),
        (("offer", "sections"), {}, "OpenSession.offer.sections: expected a list"),
        (
            ("offer", "sections", 1, "codecs", 0, "nack"),
            1,
            "OpenSession.offer.sections[1].codecs[0].nack: expected bool, got int",
        ),
        (
            ("offer", "fingerprints", 0),
            ["sha-256"],
            "OpenSession.offer.fingerprints[0]: expected 2 items, got 1",
        ),
        (
            ("offer", "sections", 0, "extensions"),
            {"a": "b"},
            "OpenSession.offer.sections[0].extensions: expected int, got str",
        ),
    ],
)
def test_what_is_wrong_is_named(path: tuple[Any, ...], value: Any, complaint: str) -> None:
    message = plain(an_opening())
    at(message, path[:-1])[path[-1]] = value
    with pytest.raises(codec.WireError) as refused:
        codec.unpack(OpenSession, msgpack.packb(message))
    assert str(refused.value).startswith(complaint)


def test_newer_fields_are_ignored_and_missing_ones_are_not() -> None:
    message = plain(an_opening())
    message["newer"] = {"than": "we"}
    message["offer"]["sections"][0]["newer"] = 1
    del message["class_title"]  # has a default
    assert codec.unpack(OpenSession, msgpack.packb(message)).class_title == ""
    del message["offer"]["ice_pwd"]
    with pytest.raises(codec.WireError, match=r"^OpenSession\.offer: field ice_pwd is missing$"):
        codec.unpack(OpenSession, msgpack.packb(message))


@given(st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(codec.WireError):
        codec.unpack(OpenSession, data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2**40) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(st.data())
def test_any_value_anywhere_is_taken_or_refused(data: st.DataObject) -> None:
    message = plain(OPENED)
    places = list(walk(message))
    container, key = data.draw(st.sampled_from(places))
    container[key] = data.draw(JSON)
    packed = msgpack.packb(message)
    try:
        arrived = codec.unpack(SessionOpened, packed)
    except codec.WireError:
        return
    assert is_dataclass(arrived)
    assert plain(arrived) == msgpack.unpackb(packed)


def walk(value: Any) -> Any:
    """Yield every place of a plain message as (container, key)."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(items):
        yield value, key
        if isinstance(item, (dict, list)):
            yield from walk(item)


def test_a_message_of_any_size_is_bounded() -> None:
    with pytest.raises(codec.WireError, match="more than"):
        codec.unpack(Beat, bytes(codec.MESSAGE_BYTES_MAX + 1))
