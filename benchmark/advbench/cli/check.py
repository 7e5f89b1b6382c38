"""`advbench check`: the conformance kit without pytest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from advbench.cli import options as opt
from advbench.errors import AdvbenchError, did_you_mean, printable
from advbench.hooks import COMMAND_GROUP
from advbench.plugins.installed import chosen, installed
from advbench.plugins.spec import parse
from advbench.plugins.values import configure
from advbench.terminal.text import complain

if TYPE_CHECKING:
    from advbench.plugin import Plugin
    from advbench.plugins.registry import Broken, Registry
    from advbench.testing import Check

KINDS = ("attack", "model", "defense", "data set", "threat", "study")
WORDS = {True: ("passed", "green"), False: ("FAILED", "bold red"), None: ("not here", "yellow")}


def check(
    context: typer.Context,
    plugin: Annotated[
        list[str] | None,
        typer.Argument(help="Entrants, as pgd or 'pgd(steps=5)', or packages by name; all that are installed without."),
    ] = None,
    data: opt.DataFolder = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show also what passed without a remark.")] = False,
    strict: opt.Strict = False,
) -> None:
    """Hold plugins against the contract, on tiny images; exit code 1 when one breaks it, or nothing could be tried."""
    from advbench.data import DataFolders
    from advbench.testing import checks

    context.obj.refuse_broken(strict)
    registry: Registry = context.obj.registry
    folders = DataFolders.default(data or ())
    hand = Hand(Console(), verbose)
    named = {name: find(registry, name) for name in plugin or ()}
    for name, sources in named.items():
        hand.hold(name, checks(*sources, folders=folders, registry=registry))
    if not named:
        hand.hold("all that is installed", checks(registry, folders=folders))
    hand.sum_up()
    if named:  # without names they are among what was checked, and have failed
        for broken in registry.broken:
            if not any(broken in sources for sources in named.values()):
                complain(str(broken))
    if hand.counts[False]:
        raise typer.Exit(1)


@dataclass
class Hand:
    """Tries checks, prints what is worth a line, and counts."""

    console: Console
    verbose: bool
    counts: dict[bool | None, int] = field(default_factory=lambda: dict.fromkeys(WORDS, 0))
    told: set[str] = field(default_factory=set)
    """One line is enough to say that a data set is elsewhere."""

    def hold(self, name: str, checks: list[Check]) -> None:
        """All checks of what was named; that none of them could be tried is a failure, too."""
        from advbench.testing import run_checks

        tried = False
        reasons: dict[str, None] = {}
        for check, (_, ok, message) in zip(checks, run_checks(checks), strict=True):
            self.counts[ok] += 1
            tried |= ok is not None and not check.on_paper
            if ok is None:
                reasons[message] = None
            if self.verbose or (message and not (ok is None and message in self.told)):
                self.told.add(message)
                self.line(ok, check.name, message)
        if not tried and reasons:
            self.counts[False] += 1
            self.line(False, name, f"nothing could be tried: {'; '.join(reasons)}")

    def line(self, ok: bool | None, name: str, message: str) -> None:
        word, style = WORDS[ok]
        remark = f": {printable(message)}" if message else ""
        self.console.print(Text.assemble((f"{word:<9}", style), printable(name), remark), soft_wrap=True)

    def sum_up(self) -> None:
        words = (f"{count} {WORDS[ok][0].lower()}" for ok, count in self.counts.items() if count)
        self.console.print(", ".join(words))


def find(registry: Registry, name: str) -> Sequence[Plugin | Broken]:
    """What a package shipped, also what is broken of it; all entrants of a name, or the one with the parameters."""
    packages = [one for one in registry.loaded if one.origin.is_called(name)]
    broken = [one for one in registry.broken if one.origin.is_called(name)]
    shipped: list[Plugin | Broken] = [*broken, *(entrant for one in packages for entrant in one.entrants)]
    if shipped:
        return shipped
    if packages:
        raise AdvbenchError(f"{packages[0].origin} ships nothing that can be checked, but commands and pages")
    every: list[Plugin] = [entrant for kind in KINDS for entrant in registry.of_kind(kind).values()]
    call = parse(name)
    named = [entrant for entrant in every if entrant.name == call.name]
    if not named:
        for _, origin in chosen(installed(COMMAND_GROUP)):
            if origin.is_called(name):
                raise AdvbenchError(f"{origin} ships nothing that can be checked, but a command")
        names = sorted({entrant.name for entrant in every})
        known = f"{did_you_mean(call.name, names)}; known: {', '.join(names)}{registry.perhaps_missing()}"
        raise AdvbenchError(f"no plugin is called {name!r}{known}")
    if not call.params:
        return named
    exact = [entrant for entrant in named if entrant.label == call.label]
    return exact or [configure(named[0], call.params, name)]
