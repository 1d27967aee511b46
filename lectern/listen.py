"""Addresses: where our processes listen, and what a machine is called from outside."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import ifaddr

from lectern.advertise import ADDRESSES_MAX, Advertised
from lectern.settings import SettingError, Settings

UNSPECIFIED = ("0.0.0.0", "::")
LISTEN_BACKLOG = 128  # connections that wait to be taken, as aiohttp asks for


def machine_addresses() -> list[str]:
    """Return the IP addresses under which other machines may reach this one, IPv4 first."""
    found: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = []
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            text = entry.ip if isinstance(entry.ip, str) else entry.ip[0]
            address = ipaddress.ip_address(text)
            if not address.is_loopback and not address.is_link_local:
                found.append(address)
    return [str(address) for address in sorted(found, key=lambda a: (a.version, int(a)))]


def media_addresses(settings: Settings) -> tuple[Advertised, ...]:
    """Return the addresses that go into answers as candidates."""
    if settings.advertise:
        return settings.advertise
    if settings.host not in UNSPECIFIED:
        return (Advertised(resolve(settings.host)),)
    found = machine_addresses()
    if settings.host == "0.0.0.0":
        found = [address for address in found if ":" not in address]
    return tuple(Advertised(address) for address in found[:ADDRESSES_MAX] or ["127.0.0.1"])


def resolve(host: str) -> str:
    """Return the IP address of a host name, IPv4 where it has one."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise SettingError(f"--host {host} is no address of this machine: {error}.") from error
    answers.sort(key=lambda answer: answer[0] != socket.AF_INET)
    return str(answers[0][4][0])


Protocol = Literal["TCP", "UDP"]


def check_media_free(settings: Settings) -> None:
    """Raise SettingError, in a sentence, for the first port of the media that somebody else has."""
    udp, tcp = settings.media_ports
    check_free(settings.host, "UDP", udp, "--udp-port")
    check_free(settings.host, "TCP", tcp, "--tcp-port")


def check_free(host: str, protocol: Protocol, ports: Iterable[int], flag: str) -> None:
    """Raise SettingError, in a sentence, for the first port that somebody else has."""
    address = resolve(host)
    for port in ports:
        _check_port(address, port, protocol, flag)


def listening_socket(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Return a socket that listens for TCP connections; "::" takes IPv4 as well.

    A `shared` port is one of several processes, among which the kernel spreads connections.
    asyncio's own servers keep IPv4 out of an IPv6 socket. Raises OSError as bind() does.
    """
    address = resolve(host)
    if ":" not in address:
        return socket.create_server((address, port), backlog=LISTEN_BACKLOG, reuse_port=shared)
    return socket.create_server(
        (address, port),
        family=socket.AF_INET6,
        dualstack_ipv6=address == "::",
        backlog=LISTEN_BACKLOG,
        reuse_port=shared,
    )


def _check_port(address: str, port: int, protocol: Protocol, flag: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
    with socket.socket(family, kind) as probe:
        if kind == socket.SOCK_STREAM:
            # As the server does: connections in TIME_WAIT do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            if kind == socket.SOCK_STREAM:
                probe.listen(1)
        except OSError as error:
            letter = protocol[0].lower()
            raise SettingError(
                f"{protocol} port {port} on {address} cannot be used ({os.strerror(error.errno or 0)}): "
                f"choose another with {flag}, or see who has it with: ss -{letter}lnp 'sport = :{port}'"
            ) from error


def unix_path(where: str) -> Path | None:
    """Return the path of `unix:/path`, None for another kind of address."""
    return Path(where.removeprefix("unix:")) if where.startswith("unix:") else None


def host_and_port(where: str) -> tuple[str, int]:
    """Take `address:port` or `[address]:port` apart; SettingError."""
    host, _, port = where.rpartition(":")
    if not host or not port.isdigit():
        raise SettingError(f"{where!r} is neither unix:/path nor address:port.")
    return host.strip("[]"), int(port)
