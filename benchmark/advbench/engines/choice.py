"""Which engine performs a run: how many processes a machine and a suite are worth."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from advbench.engines.crew import Engine
from advbench.engines.processes import Processes
from advbench.engines.serial import Serial
from advbench.engines.worker import VISIBLE
from advbench.errors import AdvbenchError

if TYPE_CHECKING:
    import torch

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
    per_gpu: int | None = None,
    engine: str = "auto",
    address: str | None = None,
    expected: Callable[[], Muster] | None = None,
) -> Engine:
    """The engine that was asked for: `auto`, or how many processes; with `isolate`, each cell has one of its own.

    One job is performed in this process: it needs no time to start, and its numbers are those of all the others.
    Several are spread over the GPUs that the device's name leaves open; `per_gpu` of them share one. An address, or
    `engine="ray"`, has a Ray cluster perform them, whose nodes have to have what is `expected`.
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
        if per_gpu is not None:
            raise AdvbenchError(
                "--per-gpu goes with processes of this machine: on Ray each worker has a GPU of its own"
            )
        from advbench.engines.cluster import cluster

        known = None if expected is None else expected()
        return cluster(address, device, jobs, tasks=tasks, cores=processors(), expected=known)
    if per_gpu is not None:
        _refuse_per_gpu(per_gpu, device, asked)
    jobs = jobs or jobs_here(device, tasks, per_gpu or 1)
    if jobs == 1 and not isolate:
        return Serial()
    return Processes(jobs, fresh=isolate, accelerators=accelerators_here(device))


def jobs_here(device: torch.device, tasks: int, per_gpu: int = 1) -> int:
    """As many processes as there are processors, tasks, and gigabytes that are free, but no more than `MOST`.

    On an accelerator one keeps it busy, unless more are asked for.
    """
    if device.type != "cpu":
        return max(1, min(tasks, per_gpu * max(1, len(accelerators_here(device)))))
    free = free_memory()
    bounds = [processors(), MOST, tasks, *([] if free is None else [free // MEMORY])]
    return max(1, min(bounds))


def accelerators_here(device: torch.device) -> tuple[str, ...]:
    """Names of the GPUs over which processes can be spread: all that this one sees, unless the device is one of them.

    Whoever is given one sees it alone, so that `cuda` in a task means that one.
    """
    if device.type != "cuda" or device.index is not None:
        return ()
    count = _gpus()
    named = os.environ.get(VISIBLE, "")
    return tuple(one.strip() for one in named.split(","))[:count] if named else tuple(map(str, range(count)))


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _refuse_per_gpu(per_gpu: int, device: torch.device, asked: str) -> None:
    if per_gpu < 1:
        raise AdvbenchError(f"--per-gpu {per_gpu}: give how many processes are to share a GPU, at least 1")
    if device.type != "cuda":
        raise AdvbenchError(f"--per-gpu {per_gpu} needs a GPU, and this run is on {device}; --jobs is for processors")
    if asked != "auto":
        raise AdvbenchError(f"--per-gpu {per_gpu} and --jobs {asked} both say how many processes: give one of them")


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
