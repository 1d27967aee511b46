"""`--advertise`: where browsers reach the media, read from its text."""

from __future__ import annotations

import dataclasses
import ipaddress

from sfu.config import Advertised

__all__ = ["ADDRESSES_MAX", "Advertised", "parse_advertised", "shifted"]

# Each makes two candidates of every answer, and browsers check all of them.
ADDRESSES_MAX = 16


def parse_advertised(text: str) -> tuple[Advertised, ...]:
    """Return the addresses of `--advertise` in their order; ValueError with a part of a sentence."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > ADDRESSES_MAX:
        raise ValueError(f"{ADDRESSES_MAX} addresses are the most")
    found = [_one(part) for part in parts]
    for index, advertised in enumerate(found):
        if advertised in found[:index]:
            raise ValueError(f"{advertised} is there twice")
    return tuple(found)


def shifted(advertised: Advertised, number: int) -> Advertised:
    """Return the address for node number `number` of a machine, whose ports follow each other."""
    if advertised.udp_port is None or advertised.tcp_port is None:
        return advertised
    return dataclasses.replace(
        advertised, udp_port=advertised.udp_port + number, tcp_port=advertised.tcp_port + number
    )


def _one(text: str) -> Advertised:
    if not text:
        raise ValueError("an address is missing")
    host, ports = _split(text)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{host!r} is no IP address; browsers are given no names") from None
    if address.is_unspecified or address.is_multicast or address.is_link_local:
        raise ValueError(f"{address} is no address that browsers can reach a machine at")
    if not ports:
        return Advertised(str(address))
    udp, slash, tcp = ports.partition("/")
    return Advertised(str(address), _port(udp), _port(tcp if slash else udp))


def _split(text: str) -> tuple[str, str]:
    """Take `IP`, `IP:PORTS` or `[IP]:PORTS` apart."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or rest == ":":
            raise ValueError(f"{text!r} is not [IPv6]:PORT")
        return host, rest[1:]
    if text.count(":") == 1:
        host, _, ports = text.partition(":")
        if not ports:
            raise ValueError(f"{text!r} lacks its port")
        return host, ports
    return text, ""


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= 65535:
        raise ValueError(f"{text!r} is no port; a port is a number from 1 to 65535")
    return int(text)
