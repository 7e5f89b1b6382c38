"""Which engine performs a run: how many processes a machine and a suite are worth."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from advbench.engines.crew import Engine
from advbench.engines.processes import Processes
from advbench.engines.serial import Serial
from advbench.errors import AdvbenchError

if TYPE_CHECKING:
    import torch

MOST = 8
"""Processes that are started unasked: what one database can take in is far from reached, and memory may be dear."""
MEMORY = 1 << 30
"""Bytes that a process may come to need."""


def choose_engine(
    asked: str, device: torch.device, tasks: int, *, isolate: bool = False, option: str = "--jobs "
) -> Engine:
    """The engine that was asked for: `auto`, or how many processes; with `isolate`, each cell has one of its own.

    One job is performed in this process: it needs no time to start, and its numbers are those of all the others.
    """
    jobs = jobs_here(device, tasks) if asked == "auto" else _number(asked, option)
    if isolate:
        return Processes(jobs, fresh=True)
    return Serial() if jobs == 1 else Processes(jobs)


def jobs_here(device: torch.device, tasks: int) -> int:
    """As many processes as there are processors, tasks, and gigabytes that are free, but no more than `MOST`.

    An accelerator is one device, and one process keeps it busy.
    """
    if device.type != "cpu":
        return 1
    free = free_memory()
    bounds = [processors(), MOST, tasks, *([] if free is None else [free // MEMORY])]
    return max(1, min(bounds))


def processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> int | None:
    """Bytes that could be had without swapping; None where the system does not tell."""
    try:
        with Path("/proc/meminfo").open() as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None


def _number(asked: str, option: str) -> int:
    if not (asked.isascii() and asked.isdigit() and 0 < int(asked) < 10_000):
        raise AdvbenchError(f"{option}{asked}: give auto, or how many processes, at least 1")
    return int(asked)
