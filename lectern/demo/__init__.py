"""`lectern demo`: a teacher made of software, to see a class at once."""

from __future__ import annotations

from lectern.demo.run import main

__all__ = ["main"]
