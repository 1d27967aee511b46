"""The cluster's secret: what a media node proves itself with when it registers."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

SECRET_BYTES = 32


def cluster_secret(data: Path) -> str:
    """Return the secret of a data directory, made at the first call and readable by its owner only."""
    path = data / "cluster-secret"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        kept = path.read_text().strip()
        if kept:
            return kept
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)  # a crash came before the write
    made = secrets.token_hex(SECRET_BYTES)
    with os.fdopen(descriptor, "w") as file:
        file.write(made + "\n")
        file.flush()
        os.fsync(file.fileno())
    return made
