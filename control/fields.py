"""Fields of request bodies: what is allowed, and the same as JSON Schema."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from typing import Any, Protocol

from control.problem import Problem

# Characters that take part in a text but show nothing; together with the categories below.
INVISIBLE = frozenset("\u115f\u1160\u2800\u3164\uffa0\u034f\u17b4\u17b5")
# Bidirectional overrides let one name pass for another.
BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


class Wrong(ValueError):
    """What is wrong with one field, as the second half of a sentence."""


class Field(Protocol):
    """One field: `check` returns the value to use or raises Wrong."""

    def check(self, value: Any) -> Any: ...
    def schema(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Text:
    """A line that people read: trimmed, in NFC, visible, of `shortest`..`longest` characters."""

    longest: int
    shortest: int = 1

    def check(self, value: Any) -> str:
        text = _string(value)
        # Before normalising, which is not linear in a hostile text's length.
        if len(text) > 4 * self.longest:
            raise Wrong(f"must have at most {self.longest} characters")
        text = unicodedata.normalize("NFC", text).strip()
        if any(unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs", "Co") for c in text):
            raise Wrong("must not contain control characters or line breaks")
        if any(_is_noncharacter(c) for c in text):
            raise Wrong("must be valid Unicode")
        if any(c in BIDI for c in text):
            raise Wrong("must not contain characters that change the direction of text")
        if not any(_visible(c) for c in text) or len(text) < self.shortest:
            raise Wrong("must not be empty")
        if len(text) > self.longest:
            raise Wrong(f"must have at most {self.longest} characters")
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": self.shortest, "maxLength": self.longest}


@dataclass(frozen=True, slots=True)
class Email:
    """An e-mail address; nothing is sent to it, so only its shape is looked at."""

    longest: int = 254

    def check(self, value: Any) -> str:
        text = _string(value)
        if len(text) > self.longest:
            raise Wrong(f"must have at most {self.longest} characters")
        text = unicodedata.normalize("NFC", text).strip()
        # Addresses are compared in this form, which may be eighteen times as long.
        if len(unicodedata.normalize("NFKC", text)) > self.longest:
            raise Wrong(f"must have at most {self.longest} characters")
        local, at, domain = text.rpartition("@")
        plain = all(_visible(c) and not c.isspace() for c in text)
        if not (local and at and domain and plain) or "@" in local:
            raise Wrong("must be an e-mail address")
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "email", "maxLength": self.longest}


@dataclass(frozen=True, slots=True)
class Password:
    """A secret, taken as it is."""

    shortest: int = 8
    longest: int = 256  # characters; hashing cost must not grow with what is sent

    def check(self, value: Any) -> str:
        text = _string(value)
        if not self.shortest <= len(text) <= self.longest:
            raise Wrong(f"must have {self.shortest} to {self.longest} characters")
        return text

    def schema(self) -> dict[str, Any]:
        return {
            "type": "string",
            "format": "password",
            "minLength": self.shortest,
            "maxLength": self.longest,
        }


@dataclass(frozen=True, slots=True)
class Integer:
    lowest: int
    highest: int

    def check(self, value: Any) -> int:
        # A bool is an int to isinstance.
        if type(value) is not int or not self.lowest <= value <= self.highest:
            raise Wrong(f"must be a whole number from {self.lowest} to {self.highest}")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.lowest, "maximum": self.highest}


@dataclass(frozen=True, slots=True)
class Choice:
    choices: tuple[str, ...]

    def check(self, value: Any) -> str:
        if not isinstance(value, str) or value not in self.choices:
            raise Wrong(f"must be one of {', '.join(self.choices)}")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.choices)}


@dataclass(frozen=True, slots=True)
class Body:
    """The fields of a JSON object; `required` ones must be there, others may, no further ones."""

    required: dict[str, Field]
    optional: dict[str, Field]

    def check(self, data: bytes) -> dict[str, Any]:
        """Return the checked fields; Problem `invalid_request` 400 (no JSON object) or 422."""
        value = _parse(data)
        if not isinstance(value, dict):
            raise Problem(400, "invalid_request", "The body must be a JSON object.")
        fields = self.required | self.optional
        checked: dict[str, Any] = {}
        for name, given in value.items():
            if name not in fields:
                raise _wrong(name[:64], "is not known here")
            try:
                checked[name] = fields[name].check(given)
            except Wrong as wrong:
                raise _wrong(name, str(wrong)) from wrong
        for name in self.required:
            if name not in checked:
                raise _wrong(name, "is missing")
        return checked

    def schema(self) -> dict[str, Any]:
        fields = self.required | self.optional
        return {
            "type": "object",
            "properties": {name: field.schema() for name, field in fields.items()},
            "required": list(self.required),
            "additionalProperties": False,
        }


def _parse(data: bytes) -> Any:
    try:
        return json.loads(
            data.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_object
        )
    except (ValueError, RecursionError) as error:
        raise Problem(400, "invalid_request", "The body must be JSON in UTF-8.") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of two fields with one name a proxy may have judged the other one (RFC 8259 section 4).
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _wrong(name: str, why: str) -> Problem:
    return Problem(422, "invalid_request", f"The field {name!r} {why}.", extra={"field": name})


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise Wrong("must be a string")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Wrong("must be valid Unicode") from error
    return value


def _visible(character: str) -> bool:
    if character in INVISIBLE or _is_noncharacter(character):
        return False
    # Unassigned code points that are to show nothing whatever they become (Default_Ignorable).
    if 0xE0000 <= ord(character) <= 0xE0FFF or character in "\u2065\ufff0\ufff8":
        return False
    # What this Python's Unicode does not know yet may be somebody's emoji: Cn is let through.
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp", "Zs")


def _is_noncharacter(character: str) -> bool:
    """Return whether the code point is for no text (Unicode section 23.7)."""
    number = ord(character)
    return 0xFDD0 <= number <= 0xFDEF or number & 0xFFFE == 0xFFFE
