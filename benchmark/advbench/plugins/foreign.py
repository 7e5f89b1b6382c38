"""Calls into plugins: `no_exit` turns what would end the program into a `PluginError`, `attributed` says in every error
what was asked, and `spare_others` ends one plugin's turn without ending the others'.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from advbench.errors import AdvbenchError, PluginError, TimeUpError, one_line
from advbench.interrupts import by_a_person

MISTAKES = (PluginError, TimeUpError)
"""Our own errors that are the fault of one plugin."""


@contextmanager
def no_exit(who: str) -> Iterator[None]:
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
def attributed(what: str) -> Iterator[None]:
    """Strangers' code runs in the block; its errors become a `PluginError` that begins with what it was asked."""
    try:
        with no_exit(f"{what}: it"):
            yield
    except AdvbenchError:
        raise
    except Exception as error:
        raise PluginError(f"{what}: {one_line(error)}") from error


@dataclass
class Failure:
    """Whether a block failed, and by what; the error itself is let go, since it would keep all that it has seen."""

    kind: type[Exception] | None = None
    reason: str = ""

    @property
    def happened(self) -> bool:
        return self.kind is not None

    def blame(self, error: Exception) -> None:
        self.kind, self.reason = type(error), one_line(error)

    def of(self, kind: type[Exception]) -> bool:
        return self.kind is not None and issubclass(self.kind, kind)


@contextmanager
def spare_others(who: str, mistakes: tuple[type[AdvbenchError], ...] = MISTAKES) -> Iterator[Failure]:
    """One stranger's turn of many runs in the block: what fails there is theirs alone, and the others have their turn.

    It ends the block and is left in the `Failure`, for the caller to tell. Let through is what concerns everybody:
    somebody's Ctrl-C, and every error of ours that is none of the `mistakes`. Those say that something outside is
    wrong (a disk that is full, a database that another process holds, data that are not here), on which all that comes
    after would fail as well.
    """
    failure = Failure()
    try:
        with no_exit(who):
            yield failure
    except Exception as error:
        if concerns_everybody(error, mistakes):
            raise
        failure.blame(error)
        _let_go(error)


def _let_go(error: BaseException | None) -> None:
    """Take the frames from an error that is over: since Python 3.12 they hold it as it holds them, until the garbage
    collector comes by, and with them the tensors of a cell."""
    over: set[int] = set()
    while error is not None and id(error) not in over:
        over.add(id(error))
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def concerns_everybody(error: Exception, mistakes: tuple[type[AdvbenchError], ...] = MISTAKES) -> bool:
    """Whether an error says that something outside is wrong, instead of being one stranger's fault."""
    return isinstance(error, AdvbenchError) and not isinstance(error, mistakes)
