"""Text that came from outside, made safe for a terminal."""

from __future__ import annotations

import os
import sys

from rich.console import Console
from rich.text import Text

from advbench.errors import printable

_UNFOLDED = 240
"""Columns of what is no terminal."""


class _Terminal(Console):
    def on_broken_pipe(self) -> None:
        """`advbench show | head` has had enough, and that is no failure."""
        raise BrokenPipeError


def terminal() -> Console:
    """Where commands print; a file or a pipe has no width, so that no table is folded there."""
    console = _Terminal(highlight=False)
    if console.is_terminal or os.environ.get("COLUMNS"):
        return console
    return _Terminal(highlight=False, width=_UNFOLDED)


def say(console: Console, text: str, style: str = "") -> None:
    """One line, made safe; the terminal itself breaks it where it is too long."""
    console.print(Text(printable(text), style=style), soft_wrap=True)


def tell(console: Console, text: str) -> None:
    """A sentence, made safe and broken between words."""
    console.print(Text(printable(text)), soft_wrap=False)


def complain(text: str) -> None:
    """One line on standard error, where it is in nobody's way."""
    print(f"advbench: {printable(text, newlines=True)}", file=sys.stderr)


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{100 * low:.1f}, {100 * high:.1f}]"


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
