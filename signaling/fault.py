"""The one point at which a test lets this process die: its commit is done, its node knows nothing."""

from __future__ import annotations

import os
from pathlib import Path

# Names a file; the number in it is the signal that the next admission brings. Not a setting.
AFTER_COMMIT = "_LECTERN_FAULT_AFTER_COMMIT"


def after_commit() -> None:
    """Do nothing, unless a test has asked for a signal just here."""
    where = os.environ.get(AFTER_COMMIT)
    if where is None:
        return
    try:
        number = int(Path(where).read_text())
        Path(where).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), number)
