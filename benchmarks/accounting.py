"""What the kernel says of a process: processor time and memory, whoever wrote it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat after the command's name, which may hold spaces (proc(5)).
UTIME, STIME = 11, 12


def processor_s(pid: int) -> float:
    """Return the processor time of a process and its threads, ended ones too, in seconds (10 ms exact)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[UTIME]) + int(fields[STIME])) / CLOCK_TICKS_PER_S


@dataclass(frozen=True, slots=True)
class Memory:
    """KiB of a process: `rss` with what it shares, `private` without."""

    rss: int
    private: int


def memory_kib(pid: int) -> Memory:
    """Return the memory of a process from its smaps_rollup."""
    sizes: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        sizes[name] = int(rest.split()[0])
    return Memory(sizes["Rss"], sizes["Private_Clean"] + sizes["Private_Dirty"])


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))
