"""The media thread dies of a bug of ours: the node says so once and ends, so that it is started again."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.sfu.conftest import a_site


class DeadMedia:
    """A media thread that has died: everything works as before but its events."""

    def __init__(self, media: Any) -> None:
        self._media = media

    def __getattr__(self, name: str) -> Any:
        return getattr(self._media, name)

    def events(self) -> list[Any]:
        raise RuntimeError("the media thread has died: index out of bounds")


async def test_it_is_said_once_and_the_node_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    with pytest.raises(ExceptionGroup) as raised:
        async with a_site(tmp_path) as site:
            student = await site.student()
            await student.state("connected")
            site.node._media = DeadMedia(site.media)  # type: ignore[assignment]
            site.node._take_events()
            done, _ = await asyncio.wait([site.node_task], timeout=10)
            assert done, "the node went on without its media"
    assert raised.group_contains(RuntimeError, match="ends with its media thread")
    assert caplog.text.count("the media thread has died") == 1
