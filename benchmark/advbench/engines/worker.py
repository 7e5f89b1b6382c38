"""A process that performs tasks: it keeps what many of them share, and ends with whoever has started it."""

from __future__ import annotations

import io
import os
import pickle
import queue
import signal
import threading
from multiprocessing.connection import Connection
from typing import Any

from advbench.engines.crew import Bench
from advbench.errors import AdvbenchError, DamagedTargetError, PluginError, one_line
from advbench.plugins.foreign import no_exit

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Names the accelerators that a process may use; within it they are numbered from 0."""
KEEP, PERFORM = "keep", "perform"
"""What it is told: to keep a shared object under a key, to perform a task under a number."""
READY, BEGUN, TOLD, CRAFTED, ENDED = "ready", "begun", "told", "crafted", "ended"
"""What it says."""


def work(connection: Connection, accelerator: str | None = None) -> None:
    """The life of the process, which sees of all accelerators the one that is named."""
    if accelerator is not None:  # read when the first of them is used, and nobody has used one yet
        os.environ[VISIBLE] = accelerator
    import torch

    from advbench.threads import settle

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    torch.set_num_threads(1)
    settle()
    told: queue.SimpleQueue[tuple[str, int, bytes]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, told), daemon=True).start()
    speaking = threading.Lock()

    def say(kind: str, number: int = 0, value: Any = None) -> None:
        with speaking:
            connection.send_bytes(pickle.dumps((kind, number, value)))

    shared: dict[int, Shared] = {}
    bench = Bench()
    say(READY)
    while True:
        kind, number, payload = told.get()
        if kind == KEEP:
            shared[number] = Shared(payload)
            continue
        bench.crafted = lambda: say(CRAFTED, number)  # noqa: B023
        bench.told = lambda word: say(TOLD, number, word)  # noqa: B023
        say(BEGUN, number)
        say(ENDED, number, _performed(payload, shared, bench))


def _listen(connection: Connection, told: queue.SimpleQueue[tuple[str, int, bytes]]) -> None:
    """Take in what is sent while a task is performed; nobody survives the parent."""
    try:
        while True:
            told.put(pickle.loads(connection.recv_bytes()))
    except (EOFError, OSError):
        os._exit(0)


class Shared:
    """An object that many tasks hold, made from its bytes when it is first needed, and again when it may be damaged."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._made: tuple[Any, ...] = ()

    def get(self) -> Any:
        self._made = self._made or (pickle.loads(self._payload),)
        return self._made[0]

    def clear(self) -> None:
        self._made = ()


def _performed(payload: bytes, shared: dict[int, Shared], bench: Bench) -> tuple[Any, Exception | None]:
    try:
        with no_exit("a plugin"):
            task = _Unpickler(io.BytesIO(payload), shared).load()
            return task.perform(bench), None
    except Exception as error:
        bench.clear()
        if isinstance(error, DamagedTargetError):
            for one in shared.values():
                one.clear()
        return None, _portable(error)


def _portable(error: Exception) -> Exception:
    """An error of one of our kinds, since a stranger's may not survive the journey."""
    if type(error).__module__ == AdvbenchError.__module__ and error.args == (str(error),):
        return type(error)(str(error))
    return PluginError(one_line(error))


class _Unpickler(pickle.Unpickler):
    """Puts shared objects in the place of their keys."""

    def __init__(self, file: io.BytesIO, shared: dict[int, Shared]) -> None:
        super().__init__(file)
        self._shared = shared

    def persistent_load(self, key: int) -> Any:
        return self._shared[key].get()
