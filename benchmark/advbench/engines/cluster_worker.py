"""What an actor of a Ray cluster is: it performs tasks in one thread, and says how far it is while it does."""

from __future__ import annotations

import importlib
import os
import pickle
import platform
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from advbench.engines.crew import Bench
from advbench.engines.parcels import Shared, performed
from advbench.engines.worker import LOADED
from advbench.errors import PluginError, one_line

if TYPE_CHECKING:
    from advbench.plugins.muster import Muster


class ClusterWorker:
    """Its methods are called from afar: `pulse` while another of them goes on, the others one after the other."""

    def __init__(self) -> None:
        os.environ["OMP_NUM_THREADS"] = "1"
        self._shared: dict[int, Shared] = {}
        self._bench = Bench()
        self._number = 0
        self._crafted = False
        self._word: Any = None
        self._state = threading.Lock()

    def hello(self, expected: Muster) -> tuple[str, int, tuple[str, ...]]:
        """Where it lies, its process, and what is another version here than it should be.

        Everything that tasks need is loaded on the way.
        """
        for module in LOADED:
            importlib.import_module(module)
        importlib.import_module("advbench.threads").settle()
        return platform.node(), os.getpid(), expected.differences()

    def perform(self, number: int, payload: bytes, shared: dict[int, Any]) -> bytes:
        """What comes of a task, as bytes; `shared` are references to what it shares with others, fetched once."""
        for key, reference in shared.items():
            if key not in self._shared:
                _bytes(reference)  # what can't be had is no mistake of the task
                self._shared[key] = Shared(partial(_bytes, reference))
        self._bench.crafted, self._bench.told = self._mark, self._tell
        self._is_at(number)
        try:
            ended = performed(payload, self._shared, self._bench)
        except BaseException as error:  # a plugin's own KeyboardInterrupt: nobody presses Ctrl-C here
            ended = None, PluginError(f"a plugin tried to end the program ({one_line(error)})")
        self._is_at(0)
        return pickle.dumps(ended)

    def pulse(self) -> tuple[int, bool, float, Any]:
        """The task that it is at, whether that has crafted, how much processor time the process has used, and the
        last word that the task has told, if it has told one."""
        with self._state:
            return self._number, self._crafted, time.process_time(), self._word

    def _is_at(self, number: int) -> None:
        with self._state:
            self._number, self._crafted, self._word = number, False, None

    def _mark(self) -> None:
        with self._state:
            self._crafted = True

    def _tell(self, word: Any) -> None:
        with self._state:
            self._word = word


def _bytes(reference: Any) -> Any:
    import ray

    return ray.get(reference).data
