"""What an engine is: it takes tasks, performs them somewhere, and gives their results back in any order."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


def unheard(number: int, word: Any) -> None:
    """Where nobody asks how far tasks are."""


@dataclass
class Bench:
    """What a process remembers from one task to the next."""

    crafted: Callable[[], None] = lambda: None
    """To be called when the part of a task is over that its patience is for."""
    told: Callable[[Any], None] = lambda word: None
    """To be called now and then with how far a long task is; to another process the word is sent."""
    _place: Hashable = None
    _kept: Any = None

    def kept(self, place: Hashable, make: Callable[[], T]) -> T:
        """What was made for the same place by the task before; made anew for another one."""
        if self._place != place:
            self._place, self._kept = None, None
            self._kept, self._place = make(), place
        kept: T = self._kept
        return kept

    def clear(self) -> None:
        """Remember nothing: what was made may be damaged."""
        self._place, self._kept = None, None


class Task(Protocol):
    """A piece of work that can be pickled."""

    @property
    def group(self) -> Hashable:
        """Tasks of one group may be performed in the same process even where every group has one of its own."""

    @property
    def shared(self) -> tuple[object, ...]:
        """Objects in it that many tasks hold: a process is sent each of them once."""

    @property
    def patience(self) -> float | None:
        """Seconds until it must say that it has crafted; None for any time."""

    def perform(self, bench: Bench) -> Any: ...


@dataclass(frozen=True)
class Ended:
    """How a task ended: with a value, or with an error."""

    number: int
    value: Any = None
    error: Exception | None = field(default=None, compare=False)


class Crew(Protocol):
    """Performs tasks until it is closed."""

    apart: bool
    """Whether tasks get copies of what they share, so that they can damage nothing here; a copy that a
    `DamagedTargetError` tells of is replaced."""

    @property
    def room(self) -> int:
        """How many more tasks are worth handing in now."""

    @property
    def busy(self) -> int:
        """How many tasks have been handed in and not come back."""

    def submit(self, task: Task) -> int:
        """Take a task, and say by which number its end will be known."""

    def listen(self, heard: Callable[[int, Any], None]) -> None:
        """From now on call this, while `next` waits, with the number of a task and a word that it has told.

        What it raises ends the waiting. An engine may leave words out.
        """

    def next(self) -> Ended:
        """Wait until one of the tasks has ended."""

    def close(self) -> None:
        """End whatever is still going on."""


class Engine(Protocol):
    """A way of performing tasks."""

    @property
    def workers(self) -> int:
        """How many tasks it performs at the same time."""

    def crew(self) -> Crew: ...
