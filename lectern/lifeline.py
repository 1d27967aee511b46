"""A child of `lectern up` ends with it, even when the supervisor had no chance to say so."""

from __future__ import annotations

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1
SUPERVISOR = "_LECTERN_SUPERVISOR"  # the supervisor's process id; not a setting


def hold() -> None:
    """Ask the kernel for SIGTERM at the supervisor's death (prctl(2)); nothing without a supervisor."""
    supervisor = os.environ.get(SUPERVISOR)
    if supervisor is None:
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != int(supervisor):
        raise SystemExit("lectern: the supervisor ended while this process started")
