"""Whether a process has used up the time of a task: that of its processor, so that a busy machine fails nobody."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from advbench.engines.alarm import GRACE


class Watch:
    """Begins when a task does; `used` says how much processor time its process has used, or None."""

    def __init__(self, used: Callable[[], float | None], patience: float) -> None:
        self._used, self._limit = used, max(0.0, patience) + GRACE
        self._first = self._last = used()
        self._began = self._moved = time.monotonic()

    def is_up(self) -> bool:
        """Also where the process sleeps for as long: who waits for nothing uses no processor."""
        now, used = time.monotonic(), self._used()
        if used is None or self._first is None:
            return now - self._began > self._limit
        if self._last is None or used > self._last:
            self._last, self._moved = used, now
        return used - self._first > self._limit or now - self._moved > self._limit


def processor_seconds(pid: int | None) -> float | None:
    """What a process has used so far; None where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None
