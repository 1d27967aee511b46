"""Every setting of Lectern: its default, its text, and where it may be given.

A setting `udp_port` is the option `--udp-port` and the variable LECTERN_UDP_PORT; the option wins. Those that
hold a secret are variables only, because everybody on a machine can read a process's arguments.
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import difflib
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lectern.advertise import Advertised, parse_advertised
from wire.link import CHILDREN_PER_CLASS_MAX

PREFIX = "LECTERN_"
TOKEN_CHARACTERS_MIN = 16
TURN_URLS_MAX = 8
# RFC 7065.
TURN_URL = re.compile(
    r"turns?:(?:\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::\d{1,5})?(?:\?transport=(?:udp|tcp))?", re.ASCII
)
NODES_MAX = 256  # processes on one machine, one per core
QUANTITY_MAX = 100_000
SECONDS_MAX = 7 * 24 * 3600


class SettingError(Exception):
    """A setting that cannot be used; the text is a sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Meta:
    """What a setting is besides its value."""

    help: str
    parse: Callable[[str], Any]
    commands: tuple[str, ...]
    metavar: str
    secret: bool


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise ValueError("a port is a number from 1 to 65535")
    return int(text)


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= NODES_MAX:
        raise ValueError(f"a number from 1 to {NODES_MAX} is expected")
    return int(text)


def _up_to(most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise ValueError(f"a number from 1 to {most} is expected")
        return int(text)

    return parse


_quantity = _up_to(QUANTITY_MAX)


def _switch(text: str) -> bool:
    if text not in ("on", "off"):
        raise ValueError("it is on or off")
    return text == "on"


def _path(text: str) -> Path:
    return Path(text).expanduser().resolve()


def _level(text: str) -> str:
    if text not in ("debug", "info", "warning", "error"):
        raise ValueError("it is debug, info, warning or error")
    return text


def _networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def _seconds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= SECONDS_MAX:
        raise ValueError(f"a whole number of seconds from 1 to {SECONDS_MAX} is expected")
    return int(text)


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError("it begins with http:// or https://")
    return text.rstrip("/")


def _format(text: str) -> str:
    if text not in ("human", "json"):
        raise ValueError("it is human or json")
    return text


def _token(text: str) -> str:
    if len(text) < TOKEN_CHARACTERS_MIN or not text.isascii() or any(c.isspace() for c in text):
        raise ValueError(
            f"at least {TOKEN_CHARACTERS_MIN} ASCII characters without spaces are expected"
        )
    return text


def _turn_urls(text: str) -> tuple[str, ...]:
    urls = tuple(part.strip() for part in text.split(",") if part.strip())
    if len(urls) > TURN_URLS_MAX:
        raise ValueError(f"{TURN_URLS_MAX} addresses are the most")
    for url in urls:
        if not TURN_URL.fullmatch(url):
            raise ValueError(f"{url!r} is not turn:HOST:PORT?transport=udp|tcp or turns:HOST:PORT")
    return urls


def _webhook_secret(text: str) -> str:
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not text.startswith("whsec_") or not 24 <= len(key) <= 64:
        # A secret is not repeated in a message.
        raise ValueError("whsec_ and the base64 of 24 to 64 bytes is expected")
    return text


def _setting(
    default: Any,
    help: str,
    *commands: str,
    parse: Callable[[str], Any] = str,
    metavar: str = "TEXT",
    secret: bool = False,
) -> Any:
    meta = Meta(help, parse, commands, metavar, secret)
    return dataclasses.field(default=default, metadata={"lectern": meta})


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one process."""

    data: Path = _setting(
        Path(".lectern"),
        "directory of everything that is kept: the embedded database, secrets, sockets, logs",
        *("up", "web", "sfu", "migrate", "demo", "user", "node", "backup", "restore"),
        parse=_path,
        metavar="DIR",
    )
    host: str = _setting(
        "127.0.0.1",
        "address to serve on, for pages and media; 0.0.0.0 serves the network, :: with IPv6 as well",
        *("up", "web", "sfu"),
        metavar="ADDRESS",
    )
    port: int = _setting(
        8080, "TCP port of the pages and the API", "up", "web", parse=_port, metavar="PORT"
    )
    public_url: str | None = _setting(
        None,
        "address that people see, for class links; without it a link has the host that was asked",
        *("up", "web"),
        parse=_url,
        metavar="URL",
    )
    tls_cert: Path | None = _setting(
        None, "certificate chain (PEM), to serve https", "up", "web", parse=_path, metavar="FILE"
    )
    tls_key: Path | None = _setting(
        None, "private key of --tls-cert (PEM)", "up", "web", parse=_path, metavar="FILE"
    )
    throttle: bool = _setting(
        True,
        "limit how often one address may try passwords and the like; off only on a loopback host",
        *("up", "web"),
        parse=_switch,
        metavar="on|off",
    )
    trusted_proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = _setting(
        (),
        "networks of reverse proxies (192.0.2.0/24 or one address), whose X-Forwarded-For and "
        "X-Forwarded-Proto are believed; throttling needs it behind a proxy",
        *("up", "web"),
        parse=_networks,
        metavar="NET[,NET]",
    )
    host_absence_max_s: int = _setting(
        1800,
        "a live class whose teacher sends nothing for so many seconds ends by itself",
        *("up", "web"),
        parse=_seconds,
        metavar="SECONDS",
    )
    sessions_per_node: int = _setting(
        2000,
        "sessions that fill a media node: new classes go elsewhere at half of it, and a class that "
        "fills 85 % of its node goes on to others",
        *("up", "web"),
        parse=_quantity,
        metavar="N",
    )
    edges_per_node: int = _setting(
        8,
        "nodes that get a large class from one node directly; more of them hang on those",
        *("up", "web"),
        parse=_up_to(CHILDREN_PER_CLASS_MAX),
        metavar="N",
    )
    udp_port: int = _setting(
        7900,
        "UDP port of the media; node number i of `lectern up` takes this port + i",
        *("up", "sfu"),
        parse=_port,
        metavar="PORT",
    )
    tcp_port: int | None = _setting(
        None,
        "TCP port of the media, for networks without UDP; node number i of `lectern up` takes this "
        "port + i; without it the number of --udp-port",
        *("up", "sfu"),
        parse=_port,
        metavar="PORT",
    )
    advertise: tuple[Advertised, ...] = _setting(
        (),
        "addresses at which browsers reach the media, the preferred one first, with commas between "
        "them: IP, IP:PORT or IP:UDP-PORT/TCP-PORT, IPv6 with a port in brackets; without it the "
        "host, or all addresses of the machine where the host is 0.0.0.0 or ::",
        *("up", "sfu"),
        parse=parse_advertised,
        metavar="IP[,IP]",
    )
    nodes: int = _setting(
        1, "media processes to run, one per core is best", "up", parse=_count, metavar="N"
    )
    webs: int = _setting(
        1,
        "web processes to run on the port; while one dies or is replaced the others serve",
        *("up", "web"),
        parse=_count,
        metavar="N",
    )
    internal_listen: str | None = _setting(
        None,
        "where this process listens for Lectern's other processes: unix:/path or address:port; "
        "without it a socket in the data directory",
        *("web", "sfu"),
        metavar="WHERE",
    )
    control_url: str | None = _setting(
        None,
        "where a media node finds the internal listeners of `lectern web`, with commas between them: "
        "unix:/path or http://address:port; without it the socket in the data directory",
        "sfu",
        metavar="WHERE",
    )
    server: str = _setting(
        "http://localhost:8080",
        "the running server that the demo teaches on",
        "demo",
        parse=_url,
        metavar="URL",
    )
    turn_urls: tuple[str, ...] = _setting(
        (),
        "TURN servers that pages may relay through (turn:host:3478?transport=udp, turns:host:443), "
        "with commas between them; needs LECTERN_TURN_SECRET",
        *("up", "web"),
        parse=_turn_urls,
        metavar="URL[,URL]",
    )
    log_format: Literal["human", "json"] = _setting(
        "human",
        "how to log: human (lines to read) or json (one object a line)",
        *("up", "web", "sfu"),
        parse=_format,
        metavar="FORMAT",
    )
    log_level: str = _setting(
        "info",
        "how much to say: debug, info, warning or error",
        *("up", "web", "sfu"),
        parse=_level,
        metavar="LEVEL",
    )
    database_url: str | None = _setting(
        None,
        "PostgreSQL to use (postgresql://user:password@host/name); without it `lectern up` starts "
        "its own",
        *("up", "web", "migrate", "user", "node", "backup", "restore"),
        secret=True,
    )
    redis_url: str | None = _setting(
        None,
        "Redis to use (redis://host:6379/0, of a cluster redis+cluster://host:6379,host:6379); "
        "without it `lectern up` starts its own",
        *("up", "web"),
        secret=True,
    )
    cluster_secret: str | None = _setting(
        None,
        "what media nodes register with; the same for all machines; without it one is made and kept "
        "in the data directory",
        *("up", "web", "sfu"),
        secret=True,
    )

    metrics_token: str | None = _setting(
        None,
        "bearer token with which /metrics may be read; without it there is no /metrics",
        *("up", "web", "sfu"),
        parse=_token,
        secret=True,
    )
    turn_secret: str | None = _setting(
        None,
        "secret shared with the TURN servers of --turn-urls (coturn: static-auth-secret)",
        *("up", "web"),
        secret=True,
    )
    webhook_url: str | None = _setting(
        None,
        "where to send events of classes; the same for every web process",
        *("up", "web"),
        parse=_url,
        secret=True,
    )
    webhook_secret: str | None = _setting(
        None,
        "key that webhooks are signed with: whsec_ and the base64 of 24 to 64 bytes",
        *("up", "web"),
        parse=_webhook_secret,
        secret=True,
    )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the host."""
        return is_loopback(self.host)

    @property
    def media_ports(self) -> tuple[range, range]:
        """The UDP and the TCP ports of the media, one of each for every node."""
        first = self.udp_port, self.tcp_port or self.udp_port
        udp, tcp = (range(port, port + self.nodes) for port in first)
        return udp, tcp

    @property
    def https(self) -> bool:
        """Whether browsers come by https, by our own certificate or a proxy's."""
        return self.tls_cert is not None or (self.public_url or "").startswith("https://")

    def environment(self) -> dict[str, str]:
        """Return the variables that give a child process these settings; secrets are among them."""
        variables = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is None or value == ():
                continue
            if isinstance(value, bool):
                value = "on" if value else "off"
            elif isinstance(value, tuple):
                value = ",".join(map(str, value))
            variables[variable(field.name)] = str(value)
        return variables


def option(name: str) -> str:
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    return PREFIX + name.upper()


def meta(field: dataclasses.Field[Any]) -> Meta:
    found: Meta = field.metadata["lectern"]
    return found


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def add_options(parser: argparse.ArgumentParser, command: str) -> None:
    """Add the options of one command to its parser, each with its variable and default."""
    secrets = []
    for field in dataclasses.fields(Settings):
        known = meta(field)
        if command not in known.commands:
            continue
        if known.secret:
            secrets.append(f"{variable(field.name)}: {known.help}")
            continue
        parser.add_argument(
            option(field.name),
            dest=field.name,
            metavar=known.metavar,
            help=f"{known.help} [{shown(field.default)}]".replace("%", "%%"),
        )
    text = "Every option is also a variable: --udp-port is LECTERN_UDP_PORT; the option wins."
    if secrets:
        text += "\nVariables only, because they hold secrets:\n  " + "\n  ".join(secrets)
    parser.epilog = text


def load(command: str, options: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """Return the settings of `command` from its options and the environment; SettingError."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(Settings):
        known = meta(field)
        text = getattr(options, field.name, None)
        source = option(field.name)
        if text is None:
            text, source = environment.get(variable(field.name)) or None, variable(field.name)
        if text is None or command not in known.commands:
            continue
        try:
            values[field.name] = known.parse(text)
        except ValueError as error:
            said = "set" if known.secret else repr(text)
            raise SettingError(f"{source} is {said}, but {error}.") from error
    settings = Settings(**values)
    settings = dataclasses.replace(settings, data=settings.data.resolve())
    _check(settings)
    _check_ports(settings, command)
    return settings


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return a sentence for every LECTERN_* variable that is no setting: a typing error, mostly."""
    known = [variable(field.name) for field in dataclasses.fields(Settings)]
    sentences = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            sentences.append(f"{name} is not a setting of Lectern{hint}")
    return sentences


def _check(settings: Settings) -> None:
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise SettingError("--tls-cert and --tls-key belong together; only one of them is given.")
    if settings.turn_urls and settings.turn_secret is None:
        raise SettingError(
            "--turn-urls needs LECTERN_TURN_SECRET, the secret shared with the servers."
        )
    if (settings.webhook_url is None) != (settings.webhook_secret is None):
        raise SettingError("LECTERN_WEBHOOK_URL and LECTERN_WEBHOOK_SECRET belong together.")
    for path in (settings.tls_cert, settings.tls_key):
        if path is not None and not path.is_file():
            raise SettingError(f"{path} (of --tls-cert or --tls-key) is not a file.")
    if not settings.throttle and not settings.loopback:
        raise SettingError(
            f"--throttle off lets everybody try passwords without end, so it is refused on "
            f"{settings.host}; it works on 127.0.0.1."
        )
    for advertised in settings.advertise:
        family = _family(settings.host)
        if family is not None and ipaddress.ip_address(advertised.address).version != family:
            raise SettingError(
                f"--advertise names {advertised.address}, but --host {settings.host} takes "
                f"IPv{family} only; --host :: takes both."
            )


def _family(host: str) -> int | None:
    """Return the only IP version that comes to a host; None: both, or only its name's owner knows."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    return None if host == "::" else version


def _check_ports(settings: Settings, command: str) -> None:
    udp, tcp = settings.media_ports
    last = settings.nodes - 1
    for ports, flag in ((udp, "--udp-port"), (tcp, "--tcp-port")):
        if ports[-1] > 65535:
            raise SettingError(f"{flag} + --nodes goes past port 65535.")
    if command == "up" and settings.port in tcp:
        raise SettingError(
            f"--port {settings.port} is also a TCP port of the media ({tcp[0]} to {tcp[-1]}); "
            "choose another --tcp-port."
        )
    for advertised in settings.advertise:
        if max(advertised.udp_port or 0, advertised.tcp_port or 0) + last > 65535:
            raise SettingError(f"--advertise {advertised} + --nodes goes past port 65535.")


def shown(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return "none" if default in (None, ()) else str(default)
