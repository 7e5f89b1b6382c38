"""An end to what hangs in Python, in this process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from advbench.errors import TimeUpError

GRACE = 2.0
"""Seconds in which an attack that asks its problem anything is ended by the problem, with nothing lost."""


@contextmanager
def stopped_after(seconds: float, problem: str) -> Iterator[None]:
    """Raise a `TimeUpError` where the block runs longer, whatever Python code it is in.

    It needs an alarm, which Windows and other threads than the main one don't have: there, only what asks for the time
    by itself comes to an end. One call into native code is never interrupted.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(number: int, frame: object) -> None:
        raise TimeUpError(problem)

    before = signal.signal(signal.SIGALRM, ring)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, before)
