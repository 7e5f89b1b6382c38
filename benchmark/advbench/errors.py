"""Errors that a person can act on: shown as one line, without a traceback."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from advbench.interrupts import by_a_person

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


class AdvbenchError(Exception):
    """Something outside the program is wrong; the message says what, where, and what to do. The CLI exits with 2."""


class MalformedError(AdvbenchError):
    """A value in a database has not the form that its column has."""


class PluginError(AdvbenchError):
    """A plugin broke the contract; the message names the plugin."""


class NotInstalledError(AdvbenchError):
    """What a plugin needs comes with an optional package that is not installed; the message says which one."""


class AccessError(PluginError):
    """An attack asked for more than it declared."""


class DamagedTargetError(PluginError):
    """An attack left its target other than it was; the target has to be made again before anybody else meets it."""


TIME_UP = "ran past its time limit"


class TimeUpError(AdvbenchError):
    """A cell ran past its time limit."""


def one_line(error: BaseException) -> str:
    """An error in one line: our own words as they are, others' with their kind."""
    text = printable(words(error))[:500]
    if isinstance(error, AdvbenchError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def words(error: BaseException) -> str:
    """An error's message; a stranger's class may fail even at that."""
    try:
        return str(error)
    except BaseException as failed:
        if by_a_person(failed):
            raise
        return "(its message can't be read)"


def printable(text: str, *, newlines: bool = False) -> str:
    """A text without escape sequences and control characters, which steer a terminal; one line unless `newlines`."""
    text = _ESCAPES.sub("", text)
    if not text.isprintable():
        kept = "\n" if newlines else ""
        text = "".join(c if c.isprintable() or c in kept else " " * c.isspace() for c in text)
    return text if newlines else " ".join(text.split())


def shown(value: object) -> str:
    """A value that a stranger wrote, made safe and short enough for a message."""
    try:
        return printable(repr(value))[:80]
    except Exception:  # a stranger's repr
        return f"a {type(value).__name__}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'steps'?` when something known is near, else nothing."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""
