"""Whether a program may look at what a device has computed before it goes on.

On a CPU that costs nothing. On a GPU the host has to wait until all that it has asked for is done, and the device is
idle until it is asked for more; so what runs in every step of an attack asks `may_wait` before it looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_FORBIDDEN: ContextVar[bool] = ContextVar("waits are forbidden on a CPU, too", default=False)


def may_wait(device: torch.device) -> bool:
    """Whether a value on the host costs next to nothing: on a CPU, unless a test tries what an accelerator would do."""
    return device.type == "cpu" and not _FORBIDDEN.get()


@contextmanager
def as_on_an_accelerator() -> Iterator[None]:
    """In its block nothing may wait, wherever it is computed: so what a GPU would do can be tried where there is none.

    A `Problem` keeps to what held when it was made.
    """
    token = _FORBIDDEN.set(True)
    try:
        yield
    finally:
        _FORBIDDEN.reset(token)
