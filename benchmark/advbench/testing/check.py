"""A check: something that every plugin of a kind must do, tried on one plugin."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch

from advbench.engines.alarm import stopped_after
from advbench.errors import AdvbenchError, NotInstalledError, PluginError, one_line, words
from advbench.plugins.foreign import no_exit

LIMIT = 60.0
"""Seconds that one check may take: all of them run on a few tiny images."""
HANGS = f"not done after {LIMIT:g} seconds on a few tiny images; it hangs or needs a bound"


class NotHere(unittest.SkipTest):
    """What the check needs is not on this machine, or not the plugin's to serve."""


class NotTriedError(Exception):
    """Raised by a check that can't be tried because another one has already failed."""


@dataclass(frozen=True)
class Check:
    """Call it: an AssertionError or a PluginError names the plugin and says what to do."""

    plugin: str
    what: str
    trial: Callable[[], str | None]
    """May return a remark on what is allowed, yet hardly meant."""
    on_paper: bool = False
    """Whether it reads declarations and runs nothing: what has passed no other check was not tried."""

    @property
    def name(self) -> str:
        return f"{self.plugin}-{self.what}"

    __name__ = name  # pytest's name for a parameter

    def __str__(self) -> str:
        return self.name

    def __call__(self) -> str | None:
        try:
            with torch.random.fork_rng(devices=[]), stopped_after(LIMIT, HANGS), no_exit(self.plugin):
                return self.trial()
        except NotHere:
            raise
        except NotTriedError as error:
            return f"not tried: {error}"
        except AssertionError as error:
            raise AssertionError(f"{self.plugin}: {words(error) or 'an assertion failed'}") from error
        except NotInstalledError as error:
            raise NotHere(str(error)) from error
        except AdvbenchError as error:
            text = str(error)
            raise PluginError(text if text.startswith(self.plugin) else f"{self.plugin}: {text}") from error
        except Exception as error:
            raise PluginError(f"{self.plugin}: raised {one_line(error)}") from error


class Checked(NamedTuple):
    """How a check went: `ok` is None where what it needs is not here."""

    name: str
    ok: bool | None
    message: str


def run_checks(checks: Iterable[Check]) -> Iterator[Checked]:
    """Try every check, one after the other, and return the results; a failure is a result and never raised."""
    for check in checks:
        try:
            remark = check()
        except NotHere as error:
            yield Checked(check.name, None, str(error))
        except (AssertionError, AdvbenchError) as error:
            yield Checked(check.name, False, str(error))
        else:
            yield Checked(check.name, True, remark or "")


def demand(condition: bool, problem: str) -> None:
    """An assertion that `python -O` keeps."""
    if not condition:
        raise AssertionError(problem)
