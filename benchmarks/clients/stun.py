"""A client's STUN messages: its check, and its answer to a server's (RFC 8445, RFC 8489).

Written here and not by aioice because clients must not be what saturates.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import socket
import struct
import zlib

MAGIC = 0x2112A442
BINDING_REQUEST = 0x0001
BINDING_SUCCESS = 0x0101
USERNAME = 0x0006
MESSAGE_INTEGRITY = 0x0008
XOR_MAPPED_ADDRESS = 0x0020
PRIORITY = 0x0024
USE_CANDIDATE = 0x0025
ICE_CONTROLLING = 0x802A
FINGERPRINT = 0x8028
FINGERPRINT_XOR = 0x5354554E
HOST_PRIORITY = 0x6E7F1EFF
INTEGRITY_BYTES = 24
FINGERPRINT_BYTES = 8


def check(username: str, pwd: str) -> bytes:
    """Return a connectivity check that nominates its path, under the server's password."""
    attributes = (
        _attribute(USERNAME, username.encode())
        + _attribute(PRIORITY, HOST_PRIORITY.to_bytes(4, "big"))
        + _attribute(ICE_CONTROLLING, bytes(8))
        + _attribute(USE_CANDIDATE, b"")
    )
    return _signed(BINDING_REQUEST, secrets.token_bytes(12), attributes, pwd)


def answer(request: bytes, address: tuple[str, int], pwd: str) -> bytes:
    """Return the success for a check that came from this IPv4 address, under our own password."""
    port = address[1] ^ MAGIC >> 16
    host = int.from_bytes(socket.inet_aton(address[0]), "big") ^ MAGIC
    mapped = _attribute(XOR_MAPPED_ADDRESS, struct.pack("!HHI", 1, port, host))
    return _signed(BINDING_SUCCESS, request[8:20], mapped, pwd)


def is_request(datagram: bytes) -> bool:
    return len(datagram) >= 20 and int.from_bytes(datagram[:2], "big") == BINDING_REQUEST


def is_answer(datagram: bytes) -> bool:
    """Return whether this is a success; who sent it is proved by the DTLS that follows."""
    return len(datagram) >= 20 and int.from_bytes(datagram[:2], "big") == BINDING_SUCCESS


def _signed(kind: int, transaction: bytes, attributes: bytes, pwd: str) -> bytes:
    signed = _head(kind, len(attributes) + INTEGRITY_BYTES, transaction) + attributes
    attributes += _attribute(MESSAGE_INTEGRITY, hmac.digest(pwd.encode(), signed, hashlib.sha1))
    summed = _head(kind, len(attributes) + FINGERPRINT_BYTES, transaction) + attributes
    checksum = zlib.crc32(summed) ^ FINGERPRINT_XOR
    return summed + _attribute(FINGERPRINT, checksum.to_bytes(4, "big"))


def _head(kind: int, length: int, transaction: bytes) -> bytes:
    return struct.pack("!HHI", kind, length, MAGIC) + transaction


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)
