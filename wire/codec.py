"""The msgpack form of the messages: a dataclass is a map of its fields, checked on arrival.

Unknown fields are ignored, so that a newer sender can speak to an older receiver; a missing field
without a default, or one of the wrong type, is a `WireError`.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from functools import lru_cache
from typing import Any, TypeVar

import msgpack

# A full session digest exchange of 10,000 sessions packs to about 1 MB.
MESSAGE_BYTES_MAX = 4 * 1024 * 1024

T = TypeVar("T")


class WireError(ValueError):
    """The bytes are not the message that was expected; the text says which field and why."""


def pack(message: Any) -> bytes:
    """Return the msgpack bytes of a message of this package."""
    packed: bytes = msgpack.packb(_plain(message), use_bin_type=True)
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
    built: T = _build(kind, plain, kind.__name__)
    return built


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


@lru_cache(maxsize=256)
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _build(kind: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _build_union(typing.get_args(kind), value, where)
    if origin is typing.Literal:
        if value not in typing.get_args(kind):
            raise WireError(f"{where}: {value!r} is none of {typing.get_args(kind)}")
        return value
    if origin is tuple:
        return _build_tuple(typing.get_args(kind), value, where)
    if origin is dict:
        key_kind, item_kind = typing.get_args(kind)
        if not isinstance(value, dict):
            raise WireError(f"{where}: expected a map")
        return {
            _build(key_kind, key, where): _build(item_kind, item, f"{where}[{key!r}]")
            for key, item in value.items()
        }
    if dataclasses.is_dataclass(kind):
        return _build_message(kind, value, where)
    # bool is an int to isinstance, but never one on the wire.
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise WireError(f"{where}: expected {kind.__name__}, got {type(value).__name__}")
    return value


def _build_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    (kind,) = (k for k in kinds if k is not type(None))
    return _build(kind, value, where)


def _build_tuple(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if not isinstance(value, list):
        raise WireError(f"{where}: expected a list")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_build(kinds[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if len(value) != len(kinds):
        raise WireError(f"{where}: expected {len(kinds)} items, got {len(value)}")
    return tuple(
        _build(k, item, f"{where}[{i}]")
        for i, (k, item) in enumerate(zip(kinds, value, strict=True))
    )


def _build_message(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise WireError(f"{where}: expected a map")
    hints = _hints(kind)
    arguments = {}
    for field in dataclasses.fields(kind):
        if field.name in value:
            arguments[field.name] = _build(
                hints[field.name], value[field.name], f"{where}.{field.name}"
            )
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise WireError(f"{where}: field {field.name} is missing")
    return kind(**arguments)
