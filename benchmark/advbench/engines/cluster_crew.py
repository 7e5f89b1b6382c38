"""The actors of a Ray cluster at work: what each has been given, and what becomes of tasks whose actor is lost."""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from advbench.engines.cluster_worker import ClusterWorker
from advbench.engines.crew import Ended, Task, unheard
from advbench.engines.parcels import packed
from advbench.engines.watch import Watch
from advbench.errors import TIME_UP, AdvbenchError, PluginError, TimeUpError, one_line, words
from advbench.plugins.foreign import no_exit
from advbench.plugins.muster import Muster

AHEAD = 2
"""Tasks that an actor is given at a time: it begins the second while the result of the first travels."""
ATTEMPTS = 3
"""How often a task is begun whose actors are lost, and how many actors in a row may be lost before one has begun."""
LOOK = 1.0
"""Seconds between two looks at actors whose time is limited."""
SILENT = 10.0
"""Seconds after which an actor that does not say how far it is counts as being in the midst of its task."""
STALLED = 300.0
"""Seconds in which at least one actor has to be there."""
HELLO, PULSE, TASK = "hello", "pulse", "task"


@dataclass(eq=False)
class Member:
    """An actor, and what it has been given."""

    actor: Any
    node: str = ""
    """Where it lies, once it has said so."""
    numbers: deque[int] = field(default_factory=deque)
    """In the order in which it performs them."""
    watch: Watch | None = None
    crafted: int = 0
    """The task that is known to be past what its patience is for."""
    used: float | None = None
    """Processor time, as it last said."""
    began: float = 0.0
    """When it may have begun the first of its tasks, on the driver's clock."""
    asked: float | None = None
    """When it was asked how far it is, and has not answered."""


@dataclass
class ClusterCrew:
    """Only whoever starts it writes results down; Ray makes nothing again, so that nothing is done unseen."""

    ray: ModuleType
    size: int
    accelerated: bool
    expected: Muster
    address: str
    leave: Callable[[], None]
    """Called in the end."""
    apart: bool = True
    _heard: Callable[[int, Any], None] = unheard
    _members: list[Member] = field(default_factory=list)
    _tasks: dict[int, Task] = field(default_factory=dict)
    _parcels: dict[int, tuple[bytes, dict[int, Any]]] = field(default_factory=dict)
    """Tasks as they are sent, with references to what they share."""
    _waiting: deque[int] = field(default_factory=deque)
    _over: deque[Ended] = field(default_factory=deque)
    _shared: dict[int, tuple[object, Any]] = field(default_factory=dict)
    """References to shared objects, by identity; the object is held so that no other gets its identity."""
    _awaited: dict[Any, tuple[str, Member, int]] = field(default_factory=dict)
    """What every reference is for, in the order in which it was asked."""
    _stories: dict[int, list[str]] = field(default_factory=dict)
    """Of tasks whose actors were lost, how."""
    _unstarted: list[str] = field(default_factory=list)
    """How actors were lost that had not begun, since one last began."""
    _manned: float = field(default_factory=time.monotonic)
    """When somebody was last there."""
    _number: int = 0

    @property
    def room(self) -> int:
        return self.size * AHEAD - len(self._tasks)

    @property
    def busy(self) -> int:
        return len(self._tasks)

    def start(self) -> None:
        """Ask for all actors; those for which there is no place yet come when there is."""
        while len(self._members) < self.size:
            self._recruit()

    def submit(self, task: Task) -> int:
        self._number += 1
        try:
            with no_exit("a plugin"):
                payload, shared = packed(task)
                self._parcels[self._number] = payload, {key: self._put(key, one) for key, one in shared.items()}
        except self.ray.exceptions.RayError as error:  # nothing can be put into its store
            raise AdvbenchError(f"Ray cluster at {self.address}: {_first_line(error)}") from error
        except Exception as error:
            problem = f"can't be sent to a process of its own: {words(error)}"
            self._over.append(Ended(self._number, error=PluginError(problem)))
        else:
            self._waiting.append(self._number)
        self._tasks[self._number] = task
        return self._number

    def listen(self, heard: Callable[[int, Any], None]) -> None:
        self._heard = heard

    def next(self) -> Ended:
        while not self._over:
            self._hand_out()
            done, _ = self.ray.wait(list(self._awaited), num_returns=1, timeout=LOOK)
            for reference in done:
                kind, member, number = self._awaited[reference]
                {HELLO: self._greet, PULSE: self._feel, TASK: self._take}[kind](reference, member, number)
            self._look()
        ended = self._over.popleft()
        for facts in (self._tasks, self._parcels, self._stories):
            facts.pop(ended.number, None)
        return ended

    def close(self) -> None:
        with suppress(Exception):  # a cluster that is lost
            for member in self._members:
                self.ray.kill(member.actor)
        for facts in (self._members, self._tasks, self._parcels, self._waiting, self._shared, self._awaited):
            facts.clear()
        self.leave()

    # --- handing out

    def _put(self, key: int, thing: object) -> Any:
        if key not in self._shared:
            payload = np.frombuffer(pickle.dumps(thing), np.uint8)  # an array is read where it lies
            self._shared[key] = thing, self.ray.put(payload)
        return self._shared[key][1]

    def _hand_out(self) -> None:
        while self._waiting:
            able = [one for one in self._members if one.node and len(one.numbers) < AHEAD]
            if not able:
                return
            member, number = min(able, key=lambda one: len(one.numbers)), self._waiting.popleft()
            if not member.numbers:
                member.began = time.monotonic()
            member.numbers.append(number)
            reference = member.actor.perform.remote(number, *self._parcels[number])
            self._awaited[reference] = TASK, member, number

    def _recruit(self) -> None:
        options: dict[str, Any] = {
            "num_cpus": 1,
            "num_gpus": 1 if self.accelerated else 0,
            "max_restarts": 0,
            "max_task_retries": 0,
            "concurrency_groups": {PULSE: 1},
            "scheduling_strategy": "SPREAD",
        }
        member = Member(self.ray.remote(**options)(ClusterWorker).remote())
        self._members.append(member)
        self._awaited[member.actor.hello.remote(self.expected)] = HELLO, member, 0

    # --- hearing

    def _greet(self, reference: Any, member: Member, _: int) -> None:
        try:
            node, pid, differences = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            self._unstarted.append(self._story(member, error))
            self._lose(member)
            if len(self._unstarted) >= ATTEMPTS:
                raise AdvbenchError(
                    f"Ray cluster at {self.address}: no worker can be started: {'; '.join(self._unstarted)}"
                ) from error
            return
        del self._awaited[reference]
        if differences:
            raise AdvbenchError(
                f"Ray cluster at {self.address}: its node {node} has {', '.join(differences)}: install there what this "
                "machine has, and run again"
            )
        member.node = f"{node} (process {pid})"
        self._unstarted.clear()

    def _feel(self, reference: Any, member: Member, _: int) -> None:
        del self._awaited[reference]
        member.asked = None
        try:
            number, crafted, used, word = self.ray.get(reference)
        except self.ray.exceptions.RayError:  # what it was doing will tell
            return
        member.used = used
        if not member.numbers or number != member.numbers[0]:
            return
        if word is not None:
            self._heard(number, word)
        if crafted:
            member.watch, member.crafted = None, number
        elif member.watch is None and (patience := self._tasks[number].patience) is not None:
            member.watch = Watch(lambda: member.used, patience)

    def _take(self, reference: Any, member: Member, number: int) -> None:
        errors = self.ray.exceptions
        try:
            value, error = pickle.loads(self.ray.get(reference))
        except (errors.RayActorError, errors.OutOfMemoryError, errors.WorkerCrashedError, errors.NodeDiedError) as lost:
            self._lose(member, self._story(member, lost))
            return
        except errors.RayTaskError as failed:
            if not isinstance(failed.cause, errors.RayError):
                value, error = None, PluginError(one_line(failed.cause))
            else:
                self._release(reference, member, number)
                self._try_again(number, f"on {member.node}: {_first_line(failed.cause)}")
                return
        except errors.RayError as lost:  # the result, with the node that held it
            self._release(reference, member, number)
            self._try_again(number, f"on {member.node}: {_first_line(lost)}")
            return
        self._release(reference, member, number)
        self._over.append(Ended(number, value, error))

    def _release(self, reference: Any, member: Member, number: int) -> None:
        del self._awaited[reference]
        member.numbers.remove(number)
        member.watch, member.began = None, time.monotonic()

    def _try_again(self, number: int, story: str) -> None:
        stories = self._stories.setdefault(number, [])
        stories.append(story)
        if len(stories) < ATTEMPTS:
            self._waiting.appendleft(number)
        else:
            problem = f"its worker was lost {len(stories)} times: {'; '.join(stories)}"
            self._over.append(Ended(number, error=PluginError(problem)))

    # --- losing

    def _look(self) -> None:
        """At who has used up the time of a task, and at whether anybody is there at all."""
        now = time.monotonic()
        for member in [one for one in self._members if one.numbers]:
            number = member.numbers[0]
            patience = self._tasks[number].patience
            if (patience is None and self._heard is unheard) or member.crafted == number or now - member.began < LOOK:
                continue
            if member.watch and member.watch.is_up():
                self._lose(member, "", TimeUpError(f"{TIME_UP} and was stopped"))
            elif member.asked is None:
                member.asked = now
                reference = member.actor.pulse.options(concurrency_group=PULSE).remote()
                self._awaited[reference] = PULSE, member, number
            elif patience is not None and member.watch is None and now - member.asked > SILENT:
                member.watch = Watch(lambda: None, patience)
        if any(one.node for one in self._members):
            self._manned = now
        elif now - self._manned > STALLED:
            free = self.ray.available_resources()
            raise AdvbenchError(
                f"Ray cluster at {self.address}: for {STALLED:.0f} seconds no worker could be started: free are "
                f"{free.get('CPU', 0):g} CPUs and {free.get('GPU', 0):g} GPUs; others use it, or its nodes are lost "
                "(`ray status` tells). Run again to go on"
            )

    def _lose(self, member: Member, story: str = "", error: Exception | None = None) -> None:
        """An actor is gone or has to go: what it had finished counts, the task that it was at is begun again or has
        failed, the others go to other actors."""
        self.ray.kill(member.actor)
        self._members.remove(member)
        left = deque(member.numbers)
        overdue = left[0] if left else None  # its result may have come in the meantime
        for reference, (kind, owner, number) in list(self._awaited.items()):
            if owner is member:
                del self._awaited[reference]
                if kind == TASK and number == left[0] and (ended := self._finished(reference, number)):
                    self._over.append(ended)
                    left.popleft()
        if left and left[0] == overdue and error is not None:
            self._over.append(Ended(left.popleft(), error=error))
        elif left and error is None:
            blamed = left.popleft()
            self._waiting.extendleft(reversed(left))
            left.clear()
            self._try_again(blamed, story)
        self._waiting.extendleft(reversed(left))
        self._recruit()

    def _finished(self, reference: Any, number: int) -> Ended | None:
        """How a task of a lost actor ended, where that came through."""
        if self.ray.wait([reference], timeout=0)[0]:
            try:
                return Ended(number, *pickle.loads(self.ray.get(reference)))
            except self.ray.exceptions.RayError:
                pass
        return None

    def _story(self, member: Member, error: Exception) -> str:
        where = f"on {member.node}: " if member.node else ""
        return where + _first_line(error)


def _first_line(error: BaseException) -> str:
    """What Ray says in many lines, without numbers that mean nothing afterwards and advice for another reader."""
    lines = [line for line in words(error).splitlines() if line.strip() and not line.startswith(("\t", " "))]
    told = lines[-1] if len(lines) > 1 else "".join(lines)
    told = told.partition(" Some common causes")[0].removeprefix("The actor is dead because ")
    return told.rstrip(". ")[:300] or type(error).__name__
