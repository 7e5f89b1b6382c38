"""Seconds of competitors that take turns in one process, so that only their ratio is read."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Timed:
    """What one competitor returned last, and what it took in every round."""

    result: Any
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def in_turns(competitors: Mapping[str, Callable[[], Any]], rounds: int, device: torch.device) -> dict[str, Timed]:
    """Every competitor once a round, after one round that is not counted; in the reverse order every other round."""
    seconds: dict[str, list[float]] = {name: [] for name in competitors}
    results: dict[str, Any] = {}
    order = list(competitors)
    for turn in range(rounds + 1 if rounds > 1 else 1):
        for name in order if turn % 2 else reversed(order):
            began = _now(device)
            results[name] = competitors[name]()
            if turn or rounds == 1:
                seconds[name].append(_now(device) - began)
    return {name: Timed(results[name], tuple(seconds[name])) for name in competitors}


def ratio(one: Timed, other: Timed) -> float:
    """The median over rounds of how many times as long `one` took as `other`."""
    return statistics.median(a / b for a, b in zip(one.seconds, other.seconds, strict=True))


def _now(device: torch.device) -> float:
    """Seconds of this process's own work on a CPU, where neighbours would lengthen the wall's; else the wall's."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()
