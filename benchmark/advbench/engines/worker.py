"""A process that performs tasks: it keeps what many of them share, and ends with whoever has started it."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import threading
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from advbench.engines.crew import Bench
from advbench.engines.parcels import Shared, performed

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Names the accelerators that a process may use; within it they are numbered from 0."""
LOADED = ("advbench.engines.preload", "advbench.run.work")
"""Modules that everybody needs who performs tasks."""
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
            shared[number] = Shared(partial(bytes, payload))
            continue
        bench.crafted = lambda: say(CRAFTED, number)  # noqa: B023
        bench.told = lambda word: say(TOLD, number, word)  # noqa: B023
        say(BEGUN, number)
        say(ENDED, number, performed(payload, shared, bench))


def _listen(connection: Connection, told: queue.SimpleQueue[tuple[str, int, bytes]]) -> None:
    """Take in what is sent while a task is performed; nobody survives the parent."""
    try:
        while True:
            told.put(pickle.loads(connection.recv_bytes()))
    except (EOFError, OSError):
        os._exit(0)
