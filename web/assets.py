"""The pages' files, read once: what each is sent as, and the name of this set of them.

They are kept in memory (some 500 kB) and packed once, so that a request costs
neither a disk nor a compressor. A change of a file is seen at the next start.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import brotli
from aiohttp import hdrs, web

from web.bare import bare

ROOT: Final = Path(__file__).resolve().parent

# What may be fetched, by folder and by type. A module that is served with another type than a
# JavaScript one does not run, so types are fixed here and not guessed from the machine.
FOLDERS: Final = ("core", "app", "vendor")
TYPES: Final = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
VERSION_CHARACTERS: Final = 16
IDENTITY: Final = "identity"
# All files: 86 kB in 0.14 s. With 11 it is 84 kB in 0.34 s of every start, with 5 no better than gzip.
BROTLI_QUALITY: Final = 10

# Asked for again each time, and answered with a small 304 where nothing changed.
KEPT_BUT_ASKED: Final = "no-cache"
# Never asked for again: the address names the content.
KEPT: Final = "public, max-age=31536000, immutable"

# Those that are imported later, by `import()`, are not waited for.
_IMPORT: Final = re.compile(
    r'^\s*(?:import|export)\b[^"\n;(]*?(?:from\s*)?"(\.[^"]+)"', re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Asset:
    """One body in each of its forms, and the entity tag of its content."""

    forms: dict[str, bytes]
    """By content coding, the smallest first; `identity` is the body as it stands."""
    content_type: str
    tag: str

    @classmethod
    def of(cls, body: bytes, content_type: str) -> Asset:
        forms = {
            "br": bytes(brotli.compress(body, mode=brotli.MODE_TEXT, quality=BROTLI_QUALITY)),
            "gzip": gzip.compress(body, 9, mtime=0),
            IDENTITY: body,
        }
        tag = hashlib.sha256(content_type.encode() + b"\0" + body).hexdigest()
        return cls(forms, content_type, tag[:VERSION_CHARACTERS])

    @property
    def text(self) -> str:
        return self.forms[IDENTITY].decode()

    def answer(self, request: web.Request, cache: str, vary: Iterable[str] = ()) -> web.Response:
        """Return it as the client takes it, or a 304 where the client has it."""
        taken = _codings(request)
        coding = next((coding for coding in self.forms if coding in taken), IDENTITY)
        # The forms are representations of their own, and a strong tag tells them apart (RFC 9110, 8.8.3).
        tag = f"{self.tag}-{coding}"
        headers = {
            hdrs.ETAG: f'"{tag}"',
            hdrs.CACHE_CONTROL: cache,
            hdrs.VARY: ", ".join((hdrs.ACCEPT_ENCODING, *vary)),
        }
        if any(held.value in (tag, "*") for held in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        if coding != IDENTITY:
            headers[hdrs.CONTENT_ENCODING] = coding
        return web.Response(
            body=self.forms[coding],
            content_type=self.content_type,
            charset="utf-8",
            headers=headers,
        )


def _codings(request: web.Request) -> set[str]:
    """Return the content codings that the client names and does not refuse (`;q=0`)."""
    taken = set()
    for offer in request.headers.get(hdrs.ACCEPT_ENCODING, "").split(","):
        coding, _, weight = offer.replace(" ", "").partition(";")
        if weight not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            taken.add(coding.lower())
    return taken


class Assets:
    """All files below `core`, `app` and `vendor`, by their path from there."""

    def __init__(self, root: Path = ROOT) -> None:
        files = sorted(
            file
            for folder in FOLDERS
            for file in (root / folder).rglob("*")
            if file.suffix in TYPES and file.is_file()
        )
        self._found = {
            file.relative_to(root).as_posix(): Asset.of(_sent(file), TYPES[file.suffix])
            for file in files
        }
        whole = hashlib.sha256()
        for path, asset in self._found.items():
            whole.update(f"{path}\0{asset.tag}\0".encode())
        self.version = whole.hexdigest()[:VERSION_CHARACTERS]
        """Names this set of files: the pages fetch it below `/static/{version}/`, kept for good."""

    def paths(self) -> list[str]:
        return list(self._found)

    def get(self, path: str) -> Asset | None:
        """Return the file at a path such as `core/api.js`, None for whatever is not one of them."""
        return self._found.get(path)

    def modules_of(self, path: str) -> list[str]:
        """Return all modules that a module imports, and what these import, in order.

        A page names them in its head: found one after the other they would cost a joiner 100 ms.
        """
        found: set[str] = set()
        waiting = [path]
        while waiting:
            at = waiting.pop()
            for target in _IMPORT.findall(self._found[at].text):
                module = _joined(PurePosixPath(at).parent, target)
                if module not in found:
                    found.add(module)
                    waiting.append(module)
        return sorted(found - {path})


def _sent(file: Path) -> bytes:
    """Return what is sent of a file; what others wrote keeps its licence and every other word."""
    body = file.read_bytes()
    if file.suffix not in (".js", ".css") or file.parent.name not in ("core", "app"):
        return body
    try:
        return bare(body.decode()).encode()
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def _joined(folder: PurePosixPath, target: str) -> str:
    parts = list(folder.parts)
    for part in target.split("/"):
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)
