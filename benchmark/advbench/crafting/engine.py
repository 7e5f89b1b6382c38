"""Where cells are crafted: in this process, or in one of their own that can be stopped anywhere."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import time
from collections.abc import Iterator
from contextlib import nullcontext
from multiprocessing.connection import Connection
from typing import Protocol

import torch

from advbench.crafting.alarm import stopped_after
from advbench.crafting.cell import Crafted, Job, craft
from advbench.errors import TIME_UP, PluginError, TimeUpError, one_line, words
from advbench.plugins.foreign import no_exit


class Engine(Protocol):
    def craft(self, job: Job) -> Iterator[Crafted]:
        """Craft the job's shards in order; raise what the attack raised."""


class InProcess:
    """The default: no start-up cost, time limits checked whenever the attack asks its problem anything."""

    def craft(self, job: Job) -> Iterator[Crafted]:
        yield from craft(job)


class Punctual:
    """In this process, and what asks its problem nothing ends with the job's time limit, too, as far as Python goes.

    For a process in which nothing of value can be interrupted: what an alarm ends may be anything.
    """

    def craft(self, job: Job) -> Iterator[Crafted]:
        crafting, left = craft(job), job.rules.timeout
        while True:
            with nullcontext() if left is None else stopped_after(max(0.0, left) + GRACE, f"{TIME_UP} and was stopped"):
                crafted = next(crafting, None)
            if crafted is None:
                return
            left = None if left is None else left - crafted.seconds
            yield crafted


class Isolated:
    """A fresh process for every cell: a crash, a hang or a leak in an attack ends with it."""

    def craft(self, job: Job) -> Iterator[Crafted]:
        context = multiprocessing.get_context("spawn")  # fork is not safe with threads or CUDA
        ours, theirs = context.Pipe(duplex=False)
        try:
            # as bytes: left to itself, multiprocessing shares tensors by file, and a file's owner may be gone too soon
            with no_exit(job.attack.label):
                sent = pickle.dumps(job)
        except Exception as error:
            raise PluginError(f"can't be sent to a process of its own: {words(error)}") from error
        worker = context.Process(target=_work, args=(theirs, sent, torch.get_num_threads()), daemon=True)
        worker.start()
        theirs.close()
        try:
            yield from self._listen(ours, worker, job.rules.timeout)
        finally:
            worker.kill()
            worker.join()
            ours.close()

    @staticmethod
    def _listen(
        ours: Connection, worker: multiprocessing.process.BaseProcess, timeout: float | None
    ) -> Iterator[Crafted]:
        deadline = None if timeout is None else time.monotonic() + START
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not ours.poll(left):
                raise TimeUpError(f"{TIME_UP} and was stopped")
            try:
                message = pickle.loads(ours.recv_bytes())
            except EOFError:
                worker.join(10)
                raise PluginError(f"its process died ({_manner(worker.exitcode)})") from None
            if message is None:
                return
            if isinstance(message, Exception):
                raise message
            if message == READY:
                deadline = None if timeout is None else time.monotonic() + timeout + GRACE
                continue
            away = time.monotonic()
            yield message
            if deadline is not None:  # judging is not held against the attack
                deadline += time.monotonic() - away


READY = "ready"
"""What a process sends when it begins to craft."""
START = 120.0
"""Seconds that a process may take to import torch and load the network; not held against the attack."""
GRACE = 2.0
"""Seconds in which an attack that asks its problem anything is ended by the problem, with nothing lost."""


def _manner(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"


def _work(out: Connection, sent: bytes, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    torch.set_num_threads(threads)

    def say(message: object) -> None:
        out.send_bytes(pickle.dumps(message))

    try:
        with no_exit("its process"):
            job = pickle.loads(sent)
            say(READY)
            for crafted in craft(job):
                say(crafted)
            say(None)
    except Exception as error:
        kind = TimeUpError if isinstance(error, TimeUpError) else PluginError
        say(kind(one_line(error)))
