"""Which engine performs a run: how many processes a machine and a suite are worth."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch

from advbench.engines.crew import Engine
from advbench.engines.processes import Processes
from advbench.engines.serial import Serial
from advbench.errors import AdvbenchError
from advbench.plugins.muster import Muster

ENGINES = ("auto", "processes", "ray")
"""What can be asked for: `auto` is Ray where an address is given, and else processes of this machine."""
MOST = 8
"""Processes that are started unasked: what one database can take in is far from reached, and memory may be dear."""
MEMORY = 1 << 30
"""Bytes that a process may come to need."""


def choose_engine(
    asked: str,
    device: torch.device,
    tasks: int,
    *,
    isolate: bool = False,
    option: str = "--jobs ",
    engine: str = "auto",
    address: str | None = None,
    expected: Callable[[], Muster] | None = None,
) -> Engine:
    """The engine that was asked for: `auto`, or how many processes; with `isolate`, each cell has one of its own.

    One job is performed in this process: it needs no time to start, and its numbers are those of all the others. An
    address, or `engine="ray"`, has a Ray cluster perform them, whose nodes have to have what is `expected`.
    """
    jobs = None if asked == "auto" else _number(asked, option)
    if engine not in ENGINES:
        raise AdvbenchError(
            f"{option.replace('jobs', 'engine')}{engine}: give {', '.join(ENGINES[:-1])} or {ENGINES[-1]}"
        )
    if engine == "processes" and address is not None:
        raise AdvbenchError(f"{option.replace('jobs', 'address')}{address} is a Ray cluster's, and processes have none")
    if engine == "ray" or address is not None:
        if isolate:
            raise AdvbenchError("--isolate goes with processes of this machine: on Ray no cell has a worker of its own")
        from advbench.engines.cluster import cluster

        known = None if expected is None else expected()
        return cluster(address, device, jobs, tasks=tasks, cores=processors(), expected=known)
    jobs = jobs or jobs_here(device, tasks)
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
