"""What a node is told at its start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Advertised:
    """An address at which browsers reach a node; a port that is None is the one that is bound."""

    address: str  # IPv4 or IPv6
    udp_port: int | None = None
    tcp_port: int | None = None

    def __str__(self) -> str:
        if self.udp_port is None:
            return self.address
        host = f"[{self.address}]" if ":" in self.address else self.address
        tcp = "" if self.tcp_port == self.udp_port else f"/{self.tcp_port}"
        return f"{host}:{self.udp_port}{tcp}"


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Settings of one node process; `control_url` is http://host:port or unix:/path."""

    host: str  # that the media ports are bound to; "::" takes both families
    udp_port: int  # 0 picks one
    tcp_port: int  # 0 picks one
    advertise: tuple[Advertised, ...]  # most preferred first; empty: `host`
    control_url: str
    cluster_secret: str
    internal_listen: str  # host:port or unix:/path
    data_dir: Path
    internal_url: str | None = None  # where others reach `internal_listen`, if it is not that
    version: str = "0"
    metrics_token: str | None = None  # with which /metrics may be read, besides the node's secret
