"""A person's Ctrl-C, told from a `KeyboardInterrupt` that a plugin raises by itself: a person's comes as a signal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """Somebody wants the program to stop; no plugin raises this."""


class Listener:
    """What SIGINT calls while a person's interrupts are told from plugins' own."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        raise Interrupted


@contextmanager
def listening() -> Iterator[None]:
    """In the block a person's Ctrl-C raises `Interrupted`.

    Only the main thread hears signals, and a handler that is not Python's own is somebody's who had a reason: then
    nothing is changed, and every `KeyboardInterrupt` counts as a person's.
    """
    mine = Listener()
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, mine)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is mine:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def by_a_person(error: BaseException) -> bool:
    """Whether an error is somebody's wish to stop. Where that can't be known, a `KeyboardInterrupt` is."""
    if not isinstance(error, KeyboardInterrupt):
        return False
    handler = signal.getsignal(signal.SIGINT)
    if handler is not signal.SIG_IGN and not isinstance(handler, Listener):
        return True
    # a plugin may have caught it to tidy up, and raised another one
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, Interrupted):
        cause = cause.__context__
    return cause is not None
