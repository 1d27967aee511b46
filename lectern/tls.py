"""The certificate that `web` serves https with."""

from __future__ import annotations

import ssl

from lectern.settings import SettingError, Settings


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the context for --tls-cert and --tls-key, None where they are not given."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (ssl.SSLError, OSError) as error:
        raise SettingError(
            f"{settings.tls_cert} and {settings.tls_key} are no certificate and its key: {error}."
        ) from error
    return context
