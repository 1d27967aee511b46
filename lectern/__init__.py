"""The front door: the command line, settings, the supervisor and the embedded servers."""

from __future__ import annotations

VERSION = "0.1.0"
