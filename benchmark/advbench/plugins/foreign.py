"""What strangers wrote: called so that nothing it raises ends the program, and made safe to repeat."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from advbench.errors import AdvbenchError, PluginError, one_line
from advbench.interrupts import by_a_person


@contextmanager
def contained(who: str) -> Iterator[None]:
    """Strangers' code runs in the block; what would end the program there is a mistake of theirs like any other.

    So it is with `sys.exit`, `raise KeyboardInterrupt` and everything else that is no `Exception`; a person's Ctrl-C
    stays what it is.
    """
    try:
        yield
    except Exception:
        raise
    except BaseException as error:
        if by_a_person(error):
            raise
        raise PluginError(f"{who} tried to end the program ({one_line(error)})") from error


@contextmanager
def told(what: str) -> Iterator[None]:
    """The same, and what is raised is told with what they were asked."""
    try:
        with contained(f"{what}: it"):
            yield
    except AdvbenchError:
        raise
    except Exception as error:
        raise PluginError(f"{what}: {one_line(error)}") from error
