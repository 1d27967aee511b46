"""The msgpack form of the messages: a dataclass is a map of its fields, checked on arrival.

Unknown fields are ignored, so that a newer sender can speak to an older receiver; a missing field
without a default, or one of the wrong type, is a `WireError`.

What builds and what packs a class is compiled when the class is first seen: a viewer's offer has some
500 values, and a node reads one for every join.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from functools import cache
from typing import Any, Final, TypeVar

import msgpack

# A full session digest exchange of 10,000 sessions packs to about 1 MB.
MESSAGE_BYTES_MAX = 4 * 1024 * 1024

T = TypeVar("T")

# Takes what msgpack gives and returns what the message holds, or raises _Wrong.
Builder = Callable[[Any], Any]


class WireError(ValueError):
    """The bytes are not the message that was expected; the text says which field and why."""


class _Wrong(Exception):
    """Something is not as it should be; `where` grows on the way out, so that right values cost nothing."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        self.where = ""


def pack(message: Any) -> bytes:
    """Return the msgpack bytes of a message of this package."""
    packed: bytes = msgpack.packb(message, default=_plain, use_bin_type=True)
    return packed


def unpack(kind: type[T], data: bytes) -> T:
    """Return the message of class `kind` that `data` holds.

    Raises WireError for anything else, however malformed.
    """
    if len(data) > MESSAGE_BYTES_MAX:
        raise WireError(f"{kind.__name__}: {len(data)} bytes, more than {MESSAGE_BYTES_MAX}")
    try:
        plain = msgpack.unpackb(data, raw=False, strict_map_key=True)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise WireError(f"{kind.__name__}: not msgpack: {error}") from error
    try:
        wanted: Any = kind
        built: T = _builder(wanted)(plain)
    except _Wrong as wrong:
        raise WireError(f"{kind.__name__}{wrong.where}: {wrong.why}") from None
    return built


@cache  # of the classes of `wire`, and no other
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def _plain(value: Any) -> Any:
    if not dataclasses.is_dataclass(value):
        raise TypeError(f"{type(value).__name__} has no form on the wire")
    kind: Any = type(value)
    return {name: getattr(value, name) for name in _names(kind)}


@cache  # of the classes of `wire` and the types of their fields
def _builder(kind: Any) -> Builder:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _optional(arguments)
    if origin is typing.Literal:
        return _choice(arguments)
    if origin is tuple:
        many = len(arguments) == 2 and arguments[1] is Ellipsis
        return _many(_builder(arguments[0])) if many else _fixed(arguments)
    if origin is dict:
        return _map(*(_builder(argument) for argument in arguments))
    if dataclasses.is_dataclass(kind):
        return _message(kind)
    return _scalar(kind)


def _scalar(kind: type) -> Builder:
    def build(value: Any) -> Any:
        # bool is an int to isinstance, but never one on the wire.
        if type(value) is kind:
            return value
        if kind is float and type(value) is int:
            return float(value)
        raise _Wrong(f"expected {kind.__name__}, got {type(value).__name__}")

    return build


def _optional(kinds: tuple[Any, ...]) -> Builder:
    (kind,) = (k for k in kinds if k is not type(None))
    build_value = _builder(kind)
    if type(None) not in kinds:
        return build_value
    return lambda value: None if value is None else build_value(value)


def _choice(choices: tuple[Any, ...]) -> Builder:
    def build(value: Any) -> Any:
        if value not in choices:
            raise _Wrong(f"{value!r} is none of {choices}")
        return value

    return build


def _many(build_item: Builder) -> Builder:
    def build(value: Any) -> Any:
        if type(value) is not list:
            raise _Wrong("expected a list")
        at = 0
        items = []
        try:
            for item in value:
                items.append(build_item(item))
                at += 1
        except _Wrong as wrong:
            wrong.where = f"[{at}]{wrong.where}"
            raise
        return tuple(items)

    return build


def _fixed(kinds: tuple[Any, ...]) -> Builder:
    builders = tuple(map(_builder, kinds))

    def build(value: Any) -> Any:
        if type(value) is not list:
            raise _Wrong("expected a list")
        if len(value) != len(builders):
            raise _Wrong(f"expected {len(builders)} items, got {len(value)}")
        return tuple([build(item) for build, item in zip(builders, value, strict=True)])

    return build


def _map(build_key: Builder, build_item: Builder) -> Builder:
    def build(value: Any) -> Any:
        if type(value) is not dict:
            raise _Wrong("expected a map")
        return {build_key(key): build_item(item) for key, item in value.items()}

    return build


_MISSING: Final = object()


def _message(kind: Any) -> Builder:
    hints = typing.get_type_hints(kind)
    missing = dataclasses.MISSING
    plan = tuple(
        (
            field.name,
            # What most fields are is looked at without a call.
            hints[field.name] if hints[field.name] in (str, int, bool, bytes) else None,
            _builder(hints[field.name]),
            field.default is missing and field.default_factory is missing,
        )
        for field in dataclasses.fields(kind)
    )

    def build(value: Any) -> Any:
        if type(value) is not dict:
            raise _Wrong("expected a map")
        get = value.get
        arguments = {}
        for name, scalar, build_field, is_required in plan:
            item = get(name, _MISSING)
            if type(item) is scalar:
                arguments[name] = item
            elif item is not _MISSING:
                try:
                    arguments[name] = build_field(item)
                except _Wrong as wrong:
                    wrong.where = f".{name}{wrong.where}"
                    raise
            elif is_required:
                raise _Wrong(f"field {name} is missing")
        return kind(**arguments)

    return build
