"""What strangers wrote: called so that nothing it raises ends the program, and made safe to repeat."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from advbench.errors import AdvbenchError, PluginError, words


@contextmanager
def contained(who: str) -> Iterator[None]:
    """Strangers' code runs in the block; what would end the program there is a mistake of theirs like any other.

    So it is with `sys.exit` and everything else that is no `Exception`; a person's Ctrl-C stays what it is.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
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


def plain(text: str) -> str:
    """Without control characters, which would steer a terminal."""
    if text.isprintable():
        return text.strip()
    return "".join(c if c.isprintable() else " " for c in text).strip()


def shown(value: object) -> str:
    try:
        return plain(repr(value))[:80]
    except Exception:  # a stranger's repr
        return f"a {type(value).__name__}"


def one_line(error: BaseException) -> str:
    text = plain(words(error))
    name = "" if isinstance(error, PluginError) else type(error).__name__
    return ": ".join(part for part in (name, text) if part)
