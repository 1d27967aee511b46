"""SDP fragments of trickle ICE and ICE restarts (RFC 8840 section 9, RFC 9725 section 4.3)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from signaling import sdp
from signaling.answer import candidate_lines
from signaling.sdp import BadOffer
from wire.session import SessionPatched


@dataclass(frozen=True, slots=True)
class Fragment:
    """The credentials that a fragment speaks of; its candidates are of no use to an ICE-lite node."""

    ice_ufrag: str
    ice_pwd: str
    media_line: str | None  # the first m= line, to be repeated in an answer
    mid: str | None


def read_fragment(body: bytes) -> Fragment:
    """Return a fragment; BadOffer for what is none."""
    lines = sdp.check_text(sdp.decode(body, "fragment"), "fragment")
    found: dict[str, str] = {}
    for line in lines:
        for prefix in ("a=ice-ufrag:", "a=ice-pwd:", "a=mid:", "m="):
            if line.startswith(prefix):
                found.setdefault(prefix, line.removeprefix(prefix).strip())
    ufrag, pwd = found.get("a=ice-ufrag:", ""), found.get("a=ice-pwd:", "")
    if not sdp.ICE_UFRAG.fullmatch(ufrag) or not sdp.ICE_PWD.fullmatch(pwd):
        raise BadOffer("The fragment has no valid a=ice-ufrag and a=ice-pwd.")
    return Fragment(ufrag, pwd, found.get("m="), found.get("a=mid:"))


def write_fragment(fragment: Fragment, patched: SessionPatched) -> str:
    """Return the answer to an ICE restart: our new credentials and where we are."""
    lines = [
        "a=ice-lite",
        "a=ice-options:trickle",
        f"a=ice-ufrag:{patched.ice_ufrag}",
        f"a=ice-pwd:{patched.ice_pwd}",
    ]
    if fragment.media_line is not None:
        lines.append(f"m={fragment.media_line}")
    if fragment.mid is not None:
        lines.append(f"a=mid:{fragment.mid}")
    lines += candidate_lines(patched.candidates)
    return "\r\n".join(lines) + "\r\n"


def entity_tag(session_id: str, ice_ufrag: str) -> str:
    """Return the ETag of a session under the client's credentials (RFC 9725 section 4.3.1).

    It follows from what every fragment carries, so no web process has to remember it.
    """
    text = f"{session_id}:{ice_ufrag}".encode()
    return f'"{hashlib.blake2b(text, digest_size=8).hexdigest()}"'
