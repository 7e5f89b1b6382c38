"""The engine that performs one task after the other in this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from advbench.engines.alarm import GRACE, stopped_after
from advbench.engines.crew import Bench, Ended, Task, unheard
from advbench.errors import TIME_UP
from advbench.plugins.foreign import no_exit


@dataclass(frozen=True)
class Serial:
    """No start-up cost; a time limit ends what asks its problem anything.

    With `alarm`, what asks nothing ends, too, as far as Python goes: for a process in which nothing of value can be
    interrupted, since what an alarm ends may be anything.
    """

    alarm: bool = False

    @property
    def workers(self) -> int:
        return 1

    def crew(self) -> SerialCrew:
        return SerialCrew(self.alarm)


@dataclass
class SerialCrew:
    alarm: bool
    apart: bool = False
    _heard: Callable[[int, Any], None] = unheard
    _bench: Bench = field(default_factory=Bench)
    _waiting: deque[tuple[int, Task]] = field(default_factory=deque)
    _number: int = 0

    @property
    def room(self) -> int:
        return 1 - len(self._waiting)

    @property
    def busy(self) -> int:
        return len(self._waiting)

    def submit(self, task: Task) -> int:
        self._number += 1
        self._waiting.append((self._number, task))
        return self._number

    def listen(self, heard: Callable[[int, Any], None]) -> None:
        self._heard = heard

    def next(self) -> Ended:
        number, task = self._waiting.popleft()
        self._bench.told = lambda word: self._heard(number, word)
        limit = task.patience if self.alarm else None
        alarm = nullcontext() if limit is None else stopped_after(max(0.0, limit) + GRACE, f"{TIME_UP} and was stopped")
        try:
            with no_exit("a plugin"), alarm:
                return Ended(number, task.perform(self._bench))
        except Exception as error:
            self._bench.clear()
            # without where it was raised, which would keep everything that was in sight there
            error.__cause__ = error.__context__ = None
            return Ended(number, error=error.with_traceback(None))

    def close(self) -> None:
        self._waiting.clear()
        self._bench.clear()
