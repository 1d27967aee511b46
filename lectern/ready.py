"""Ask a running server whether it is ready."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable

import aiohttp

from lectern.listen import UNSPECIFIED
from lectern.settings import Settings

ASK_INTERVAL_S = 0.1
ASK_TIMEOUT_S = 2.0


def own_url(settings: Settings) -> str:
    """Return the URL at which this machine reaches its own web process."""
    host = settings.host
    if host in UNSPECIFIED:
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    if ":" in host:
        host = f"[{host}]"
    scheme = "http" if settings.tls_cert is None else "https"
    return f"{scheme}://{host}:{settings.port}"


async def wait_ready(settings: Settings, timeout_s: float, gives_up: Callable[[], bool]) -> bool:
    """Return True once /readyz says 200, False after `timeout_s` or when `gives_up` says so."""
    # The certificate is the operator's own and made for another name than the loopback address.
    tls = ssl.create_default_context()
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    timeout = aiohttp.ClientTimeout(total=ASK_TIMEOUT_S)
    deadline = time.monotonic() + timeout_s
    async with aiohttp.ClientSession(
        timeout=timeout, connector=aiohttp.TCPConnector(ssl=tls)
    ) as client:
        while time.monotonic() < deadline and not gives_up():
            try:
                async with client.get(own_url(settings) + "/readyz") as answer:
                    if answer.status == 200:
                        return True
            except (aiohttp.ClientError, TimeoutError):
                pass  # not there yet
            await asyncio.sleep(ASK_INTERVAL_S)
    return False
