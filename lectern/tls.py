"""The certificate that `web` serves https with, and its renewal while it serves."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

from lectern.settings import SettingError, Settings

log = logging.getLogger(__name__)

# Certificates are renewed weeks before they end: looking often costs two system calls.
LOOK_INTERVAL_S = 10.0


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the context for --tls-cert and --tls-key, None where they are not given."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return _loaded(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), settings)


async def keep_fresh(
    context: ssl.SSLContext,
    settings: Settings,
    asked: asyncio.Event,
    interval_s: float = LOOK_INTERVAL_S,
) -> None:
    """Load the certificate anew whenever its files change, or `asked` is set; until cancelled.

    New connections get it, those that are open go on. Files that are no certificate and its key, because
    they are being written, say, change nothing, and are looked at again.
    """
    loaded = _stamp(settings)
    complained: object = None
    while True:
        try:
            await asyncio.wait_for(asked.wait(), interval_s)
        except TimeoutError:
            pass
        stamp = _stamp(settings)
        if not asked.is_set() and stamp == loaded:
            continue
        asked.clear()
        try:
            # Into a context of its own first: a failure half-way would leave the new certificate with
            # the old key.
            _loaded(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), settings)
            _loaded(context, settings)
        except SettingError as error:
            if stamp != complained:
                complained = stamp
                log.error("the certificate was not loaded anew: %s", error)
            continue
        loaded = stamp
        log.info("the certificate was loaded anew")


def _loaded(context: ssl.SSLContext, settings: Settings) -> ssl.SSLContext:
    assert settings.tls_cert is not None and settings.tls_key is not None
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (ssl.SSLError, OSError) as error:
        raise SettingError(
            f"{settings.tls_cert} and {settings.tls_key} are no certificate and its key: {error}."
        ) from error
    return context


def _stamp(settings: Settings) -> tuple[object, ...]:
    return tuple(_changed(path) for path in (settings.tls_cert, settings.tls_key))


def _changed(path: Path | None) -> object:
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    # A link to another file (as certbot makes them) has another inode.
    return found and (found.st_ino, found.st_mtime_ns, found.st_size)
