"""The text at the start: which links teachers and students can use, and what they cannot do."""

from __future__ import annotations

from lectern import VERSION
from lectern.listen import UNSPECIFIED, machine_addresses
from lectern.settings import Settings

SHOWN_ADDRESSES_MAX = 4


def greeting(settings: Settings) -> str:
    """Return the text for a server that has just become ready."""
    lines = [f"Lectern {VERSION} is ready."]
    own = _url(settings, "localhost")
    if settings.loopback:
        lines += [
            f"  Open {own} on this computer; nobody else can reach it.",
            "  For your network: --host 0.0.0.0 --tls-cert FILE --tls-key FILE",
        ]
    else:
        lines += _network(settings)
    lines += [
        f"  To see a class at once, in a second terminal: .venv/bin/lectern demo {_server(own)}".rstrip(),
        f"  Everything is kept in {settings.data}. Ctrl-C stops.",
    ]
    return "\n".join(lines)


def _network(settings: Settings) -> list[str]:
    if settings.public_url is not None:
        links = [settings.public_url]
    elif settings.host in UNSPECIFIED:
        links = [_url(settings, a) for a in machine_addresses()[:SHOWN_ADDRESSES_MAX]]
    else:
        links = [_url(settings, settings.host)]
    lines = [f"  Students and teachers on your network: {'  '.join(links) or '(no network found)'}"]
    if not settings.https:
        lines += [
            "  Without https students can watch, but a browser lets nobody share a screen or",
            f"  microphone, except on this computer at {_url(settings, 'localhost')}.",
            "  Give --tls-cert FILE --tls-key FILE to let teachers share from anywhere.",
        ]
    if settings.public_url is None:
        lines.append(
            f"  A class's link has the address that its teacher used; --public-url {links[0]} sets it."
            if links
            else "  --public-url sets the address in a class's link."
        )
    return lines


def _url(settings: Settings, host: str) -> str:
    scheme = "http" if settings.tls_cert is None else "https"
    if ":" in host:
        host = f"[{host}]"
    return f"{scheme}://{host}:{settings.port}"


def _server(own: str) -> str:
    return "" if own == "http://localhost:8080" else f"--server {own}"
