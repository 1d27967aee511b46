"""The pages: plain ES modules served as they stand, and the routes that serve them."""

from __future__ import annotations

from web.pages import add_routes

__all__ = ["add_routes"]
