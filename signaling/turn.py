"""Credentials for an operator's TURN server, as draft-uberti-behave-turn-rest-00 has them.

The user name is `expiry:random`, the password the base64 of HMAC-SHA1 over it with the secret that the
TURN server shares (coturn's `use-auth-secret`). The name says nothing of the person: it travels in the
clear. Only who is signed in gets one; it is good for TTL_S and for relaying, no more.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass

from aiohttp import web

from control import Control

TTL_S = 6 * 3600  # a school day; a relay allocated once is refreshed under the same credentials


@dataclass(frozen=True, slots=True)
class Turn:
    """Where the TURN server is, by `turn:` and `turns:` URLs, and the secret shared with it."""

    urls: tuple[str, ...]
    secret: str

    def credentials(self, now_s: float, nonce: str) -> tuple[str, str]:
        """Return (user name, password) that end TTL_S after `now_s` of Unix time."""
        name = f"{int(now_s) + TTL_S}:{nonce}"
        mac = hmac.new(self.secret.encode(), name.encode(), hashlib.sha1).digest()
        return name, base64.b64encode(mac).decode()


class IceServers:
    """GET /live/ice-servers: what a page gives its RTCPeerConnection."""

    def __init__(self, control: Control, turn: Turn | None) -> None:
        self._control = control
        self._turn = turn

    async def get(self, request: web.Request) -> web.Response:
        """Answer {iceServers, ttl_s}; iceServers is empty where no TURN server is set."""
        await self._control.account_of(request)
        servers = []
        if self._turn is not None:
            name, password = self._turn.credentials(time.time(), secrets.token_hex(8))
            servers.append({"urls": [*self._turn.urls], "username": name, "credential": password})
        return web.json_response(
            {"iceServers": servers, "ttl_s": TTL_S}, headers={"Cache-Control": "no-store"}
        )
