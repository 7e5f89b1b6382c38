"""The engine that performs tasks in processes of their own, several at a time."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from advbench.engines.crew import Ended, Task, unheard
from advbench.engines.parcels import packed
from advbench.engines.watch import Watch, processor_seconds
from advbench.engines.worker import BEGUN, CRAFTED, ENDED, KEEP, LOADED, PERFORM, READY, TOLD, work
from advbench.errors import TIME_UP, PluginError, TimeUpError, words
from advbench.plugins.foreign import no_exit

AHEAD = 2
"""Tasks that a process is given at a time: it begins the second while the result of the first is stored."""
GUARD = "a script that asks for several jobs does so below `if __name__ == '__main__':`"
"""Since every process imports the script that has started it."""
LOOK = 0.25
"""Seconds between two looks at processes whose time is limited."""


@dataclass(frozen=True)
class Processes:
    """So many processes of one thread each; with `fresh`, a new one for every group of tasks."""

    workers: int = 1
    fresh: bool = False
    accelerators: tuple[str, ...] = ()
    """Names of those over which the processes are spread; each process sees one alone, as its first."""

    def crew(self) -> ProcessCrew:
        crew = ProcessCrew(self.workers, self.fresh, self.accelerators)
        if not self.fresh:
            crew.start()
        return crew


@dataclass
class Member:
    """A process, and what it has been given."""

    process: BaseProcess
    connection: Connection
    accelerator: str | None = None
    group: Hashable = None
    ready: bool = False
    numbers: deque[int] = field(default_factory=deque)
    begun: int | None = None
    watch: Watch | None = None
    sent: set[int] = field(default_factory=set)
    """Which shared objects it has, by identity."""


@dataclass
class ProcessCrew:
    size: int
    fresh: bool
    accelerators: tuple[str, ...] = ()
    apart: bool = True
    _heard: Callable[[int, Any], None] = unheard
    _members: list[Member] = field(default_factory=list)
    _tasks: dict[int, Task] = field(default_factory=dict)
    _again: deque[int] = field(default_factory=deque)
    """Tasks of a process that died before it had begun them."""
    _over: deque[Ended] = field(default_factory=deque)
    _shared: dict[int, tuple[object, bytes]] = field(default_factory=dict)
    """Shared objects as they are sent, by identity; the object is held so that no other gets its identity."""
    _number: int = 0

    @property
    def room(self) -> int:
        ahead = 1 if self.fresh else AHEAD
        return self.size * ahead - len(self._tasks)

    @property
    def busy(self) -> int:
        return len(self._tasks) + len(self._over)

    def start(self) -> None:
        """Start all processes now, so that they load what they need while nobody waits for them."""
        while len(self._members) < self.size:
            self._started()

    def submit(self, task: Task) -> int:
        self._number += 1
        self._tasks[self._number] = task
        self._hand_out(self._number)
        return self._number

    def listen(self, heard: Callable[[int, Any], None]) -> None:
        self._heard = heard

    def next(self) -> Ended:
        while not self._over:
            while self._again:
                self._hand_out(self._again.popleft())
            limited = any(member.watch for member in self._members)
            for connection in wait([one.connection for one in self._members], LOOK if limited else None):
                member = next(one for one in self._members if one.connection is connection)
                self._hear(member)
            for member in [one for one in self._members if one.watch and one.watch.is_up()]:
                self._end(member, TimeUpError(f"{TIME_UP} and was stopped"))
        return self._over.popleft()

    def close(self) -> None:
        for member in self._members:
            member.process.kill()
        for member in self._members:
            member.process.join()
            member.connection.close()
        self._members.clear()
        self._tasks.clear()

    # --- handing out

    def _hand_out(self, number: int) -> None:
        task = self._tasks[number]
        try:
            with no_exit("a plugin"):
                sent, shared = packed(task)
                for key, thing in shared.items():
                    if key not in self._shared:
                        self._shared[key] = (thing, pickle.dumps(thing))
        except Exception as error:
            self._over.append(
                Ended(number, error=PluginError(f"can't be sent to a process of its own: {words(error)}"))
            )
            del self._tasks[number]
            return
        member = self._for(task)
        try:
            for key in shared.keys() - member.sent:
                _send(member, KEEP, key, self._shared[key][1])
                member.sent.add(key)
            member.numbers.append(number)
            _send(member, PERFORM, number, sent)
        except OSError:  # it has died, which is found when it is listened to
            if number not in member.numbers:
                member.numbers.append(number)

    def _for(self, task: Task) -> Member:
        """The process with the least to do; another one while there may be more."""
        if self.fresh:
            for member in [one for one in self._members if not one.numbers and one.group != task.group]:
                self._retire(member)
        able = [one for one in self._members if not self.fresh or one.group == task.group]
        least = min(able, key=lambda one: len(one.numbers), default=None)
        if least is None or (least.numbers and len(self._members) < self.size):
            least = self._started()
        least.group = task.group
        return least

    def _started(self) -> Member:
        ours, theirs = CONTEXT.Pipe()
        taken = [one.accelerator for one in self._members]
        accelerator = min(self.accelerators, key=taken.count, default=None)
        process = CONTEXT.Process(target=work, args=(theirs, accelerator), daemon=True)  # type: ignore[attr-defined]
        process.start()
        theirs.close()
        member = Member(process, ours, accelerator)
        self._members.append(member)
        return member

    # --- hearing

    def _hear(self, member: Member) -> None:
        try:
            kind, number, value = pickle.loads(member.connection.recv_bytes())
        except (EOFError, OSError):
            member.process.join(10)
            manner = _manner(member.process.exitcode)
            died = (
                f"its process died ({manner})" if member.ready else f"its process can't be started ({manner}); {GUARD}"
            )
            self._end(member, PluginError(died))
            return
        if kind == READY:
            member.ready = True
        elif kind == BEGUN:
            member.begun = number
            patience = self._tasks[number].patience
            member.watch = None if patience is None else Watch(partial(processor_seconds, member.process.pid), patience)
        elif kind == TOLD:
            self._heard(number, value)
        elif kind == CRAFTED:
            member.watch = None
        elif kind == ENDED:
            member.begun = member.watch = None
            member.numbers.remove(number)
            del self._tasks[number]
            value, error = value
            self._over.append(Ended(number, value, error))

    def _end(self, member: Member, error: Exception) -> None:
        """A process that is dead or has to die: the task that it had begun fails, the others go to other processes."""
        failed = member.begun
        if failed is None and not member.ready and member.numbers:
            failed = member.numbers[0]  # it can't even start: whoever tries again would try for ever
        self._retire(member)
        for number in member.numbers:
            if number == failed:
                del self._tasks[number]
                self._over.append(Ended(number, error=error))
            else:
                self._again.append(number)

    def _retire(self, member: Member) -> None:
        member.process.kill()
        member.process.join()
        member.connection.close()
        self._members.remove(member)


FORKED = "forkserver" in multiprocessing.get_all_start_methods()
CONTEXT = multiprocessing.get_context("forkserver" if FORKED else "spawn")
if FORKED:  # a process that has loaded torch once is forked whenever one is needed
    CONTEXT.set_forkserver_preload(list(LOADED))


def load_ahead() -> None:
    """Have the process load torch from which the others will be forked, while this one does something else."""
    if FORKED:
        from multiprocessing.forkserver import ensure_running

        ensure_running()


def _send(member: Member, kind: str, number: int, payload: bytes) -> None:
    member.connection.send_bytes(pickle.dumps((kind, number, payload)))


def _manner(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"{name}; out of memory, perhaps" if name == "SIGKILL" else name
    return f"exit code {code}"
