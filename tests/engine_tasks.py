"""Tasks that other processes can import, for tests of engines."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import Any

from advbench.errors import AccessError, DamagedTargetError


class Heavy:
    """Counts how often it is sent."""

    sent = 0

    def __init__(self, value):
        self.value = value

    def __getstate__(self):
        type(self).sent += 1
        return {"value": self.value}


def start_wrongly(connection, accelerator):
    os._exit(1)


@dataclass(frozen=True)
class Task:
    do: str
    value: Any = None
    group: str = "one"
    patience: float | None = None
    held: tuple = ()

    @property
    def shared(self):
        return self.held

    def perform(self, bench):
        return getattr(self, f"_{self.do}")(bench)

    def _say(self, bench):
        bench.crafted()
        return self.value, os.getpid()

    def _add(self, bench):
        return self.value + sum(one.value for one in self.held)

    def _change(self, bench):
        self.held[0].value += 1
        return self.held[0].value

    def _count(self, bench):
        kept = bench.kept(self.group, list)
        kept.append(self.value)
        return len(kept)

    def _hang(self, bench):
        while True:
            pass

    def _sleep(self, bench):
        time.sleep(600)

    def _craft_and_hang(self, bench):
        bench.crafted()
        time.sleep(4)
        return "judged"

    def _leave(self, bench):
        os._exit(3)

    def _exit(self, bench):
        raise SystemExit(0)

    def _crash(self, bench):
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(60)

    def _fail(self, bench):
        raise ZeroDivisionError("in the middle")

    def _ask(self, bench):
        raise AccessError("asked for gradients")

    def _damage(self, bench):
        raise DamagedTargetError("it is another one")

    def _visible(self, bench):
        bench.crafted()
        time.sleep(0.05)  # so that everybody has some
        return os.environ.get("CUDA_VISIBLE_DEVICES"), os.getpid()

    def _tell(self, bench):
        for word in range(3):
            bench.told(word)

    def _settings(self, bench):
        import torch

        cudnn = torch.backends.cudnn
        return cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32

    def _threads(self, bench):
        import torch

        return torch.get_num_threads()

    def _variable(self, bench):
        return os.environ.get(self.value)
