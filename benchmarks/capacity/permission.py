"""Which hosts may be loaded: those that whoever runs the benchmark has named, and nobody else."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Sequence
from urllib.parse import SplitResult, urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

from benchmarks.registry import BenchmarkError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

HOSTS_MAX = 100
HTTP_PORTS = {"http": 80, "https": 443}


class Permission:
    """A deployment's URL, and the addresses that its API and its media may be at.

    Names are looked up once, in the beginning: what they stand for later is not asked again.
    """

    def __init__(self, url: str, hosts: Sequence[str]) -> None:
        """BenchmarkError where the URL's host is not among `hosts`, or something is malformed."""
        parts = _parts(url)
        self.host = _host(parts.hostname or "")
        allowed = [_host(host) for host in hosts]
        if self.host not in allowed:
            raise BenchmarkError(
                f"A load test of {self.host} needs its operator's leave, so it begins only where the"
                f" host is named a second time: --i-may-load {self.host}."
            )
        if len(allowed) > HOSTS_MAX:
            raise BenchmarkError(f"--i-may-load names more than {HOSTS_MAX} hosts.")
        self.port = parts.port or HTTP_PORTS[parts.scheme]
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self._of_host = {host: _looked_up(host) for host in allowed}
        self._allowed = frozenset(one for found in self._of_host.values() for one in found)
        if parts.scheme == "http" and not all(one.is_loopback for one in self._of_host[self.host]):
            raise BenchmarkError("Passwords go over it, so the URL has to begin with https://.")

    def check(self, addresses: Iterable[Address]) -> None:
        """BenchmarkError where media would go to a host that was not named."""
        for address in addresses:
            if address not in self._allowed:
                raise BenchmarkError(
                    f"The server wants media to go to {address}, which belongs to none of the hosts"
                    f" named. Nothing was sent there. If it is yours: --i-may-load {address}."
                )

    def resolver(self) -> AbstractResolver:
        """Return the resolver for HTTP, which knows the deployment's name only."""
        return _Known(self.host, self._of_host[self.host])


class _Known(AbstractResolver):
    def __init__(self, host: str, addresses: Sequence[Address]) -> None:
        self._host, self._addresses = host, addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        if host.lower().rstrip(".") != self._host:
            raise OSError(f"{host} is not the host that is loaded")
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise _bad_url() from None
    plain = not (parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in HTTP_PORTS or not parts.hostname or parts.path.strip("/") or not plain:
        raise _bad_url()
    return parts


def _bad_url() -> BenchmarkError:
    return BenchmarkError("--url is the origin of a deployment, such as https://class.example.edu.")


def _host(text: str) -> str:
    """Return a host in the form in which hosts are compared."""
    plain = text.strip().strip("[]").lower().rstrip(".")
    try:
        return str(ipaddress.ip_address(plain))
    except ValueError:
        return plain


def _looked_up(host: str) -> tuple[Address, ...]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise BenchmarkError(f"The host {host} is not known.") from None
    addresses = tuple(dict.fromkeys(ipaddress.ip_address(one[4][0]) for one in found))
    for address in addresses:
        if address.is_multicast or address.is_unspecified:
            raise BenchmarkError(f"{host} stands for {address}, which is no single host.")
    return addresses
