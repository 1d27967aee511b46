"""A data directory belongs to one process at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TextIO

from lectern.settings import SettingError


class DataInUse(SettingError):
    """Another process has the data directory."""


def lock(data: Path) -> TextIO:
    """Take the data directory for this process; the kernel gives it back whatever happens."""
    # Opened without truncating: it holds the id of the process that has it.
    file = (data / "lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise DataInUse(
            f"Lectern already runs on {data} (process {holder}); "
            "stop it, or choose another directory with --data."
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file
