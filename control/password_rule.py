"""Which new passwords are refused: those that whoever guesses tries first.

Compared offline with the most common of leaked passwords (the list of the kept package zxcvbn, MIT, which
has them from Mark Burnett's collection of ten million), and with words that lie at hand for this deployment
and this person. Nothing is demanded of what a password is made of.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from zxcvbn.frequency_lists import FREQUENCY_LISTS

from control.problem import Problem

# OWASP ASVS 5.0, 6.2.4 asks for the 3,000 most common that a rule of length leaves; this leaves 11,611.
SHORTEST_KNOWN = 8
# The package leaves out what is one or two characters again and again.
DIFFERENT_CHARACTERS_MIN = 3
# Whatever a deployment is called, these are at hand (6.1.2; docs/security.md lists them).
OURS = frozenset({"lectern", "teacher", "student", "classroom"})
WORD_CHARACTERS_MIN = 3

_PARTS = re.compile(r"[\W_]+")


class PasswordRule:
    """Judges new passwords; made once per process, since the list takes 50 ms to read."""

    def __init__(self, public_url: str | None) -> None:
        self._common = frozenset(
            word for word in FREQUENCY_LISTS["passwords"] if len(word) >= SHORTEST_KNOWN
        )
        self._words = OURS | _words(urlsplit(public_url or "").hostname or "")

    def check(self, password: str, *, email: str, name: str) -> None:
        """Let a password pass that is neither common nor made of a word at hand; Problem password_common."""
        plain = password.casefold()
        if plain in self._common or len(set(plain)) < DIFFERENT_CHARACTERS_MIN:
            raise _refused("This password is among the first that are guessed. Choose another one.")
        words = self._words | _words(email) | _words(name)
        # "lectern2026!" is "lectern" to whoever guesses.
        core = _PARTS.sub("", plain).strip("0123456789")
        if core in words:
            raise _refused(
                "A name, an address or a word of this site does not make a password. Choose another one."
            )


def _words(text: str) -> frozenset[str]:
    """Return the parts of a name or an address, and the whole of it without what stands between them."""
    plain = text.casefold()
    found = {*_PARTS.split(plain), *plain.split("@"), plain}
    joined = {_PARTS.sub("", word).strip("0123456789") for word in found}
    return frozenset(word for word in joined if len(word) >= WORD_CHARACTERS_MIN)


def _refused(detail: str) -> Problem:
    return Problem(422, "password_common", detail, extra={"field": "password"})
