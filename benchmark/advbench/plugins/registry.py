"""The installed entrants by name, who shipped them, and which were set aside."""

from __future__ import annotations

import dataclasses
import traceback as tracebacks
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from advbench.errors import AdvbenchError, PluginError, did_you_mean, one_line, printable
from advbench.interrupts import by_a_person
from advbench.plugin import Attack, Dataset, Defense, Model, Plugin
from advbench.plugins.foreign import no_exit
from advbench.plugins.installed import PLUGINS_VARIABLE
from advbench.plugins.origin import Origin
from advbench.plugins.remembered import Row
from advbench.plugins.sources import source_digest
from advbench.plugins.spec import Call, parse, parse_chain
from advbench.plugins.values import configure
from advbench.study import Study
from advbench.threats import Threat, advbench_threats, is_core

if TYPE_CHECKING:
    import typer

K = TypeVar("K", bound=Plugin)

KINDS: dict[str, tuple[str, type[Plugin]]] = {
    "advbench_attacks": ("attack", Attack),
    "advbench_models": ("model", Model),
    "advbench_defenses": ("defense", Defense),
    "advbench_datasets": ("data set", Dataset),
    "advbench_threats": ("threat", Threat),
    "advbench_studies": ("study", Study),
}


@dataclass(frozen=True)
class Broken:
    """A plugin that could not be loaded or broke the contract, and why."""

    origin: Origin
    error: str
    traceback: str
    to_blame: bool = True
    """False where what failed is outside of the program, a disk or a file, and told so."""

    def __str__(self) -> str:
        return f"{self.origin} is broken and was left out: {self.error}; `advbench plugins --traceback` shows where"


@dataclass(frozen=True)
class Loaded:
    """An entry point whose hooks were called, with the entrants that they returned."""

    origin: Origin
    manager: pluggy.PluginManager
    entrants: tuple[Plugin, ...]


@dataclass(frozen=True)
class Registry:
    """Entrants by label, in the order in which they were found: advbench's own first, then by distribution."""

    attacks: dict[str, Attack] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    defenses: dict[str, Defense] = field(default_factory=dict)
    datasets: dict[str, Dataset] = field(default_factory=dict)
    threats: dict[str, Threat] = field(default_factory=lambda: {ball.label: ball for ball in advbench_threats()})
    """The core's are in every registry, also in one that is put together by hand."""
    studies: dict[str, Study] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)
    strict: bool = False
    restriction: str = ""
    """What `ADVBENCH_PLUGINS` said."""
    loaded: list[Loaded] = field(default_factory=list, repr=False)

    def attack(self, text: str) -> Attack:
        """The attack that a text names, with the parameters that it gives."""
        return self.settle(self._configure("attack", self.attacks, parse(text)))

    def settle(self, attack: Attack, above: tuple[str, ...] = ()) -> Attack:
        """The attack with those that it builds on; an AdvbenchError says which of them is unknown.

        `above` are the labels of those that build on it.
        """
        if not attack.builds_on:
            return attack
        if attack.label in above:
            raise AdvbenchError(f"{attack.label} builds on itself: name another attack in it")
        others = {}
        for name in attack.builds_on:
            try:
                other = self._configure("attack", self.attacks, parse(getattr(attack, name)))
            except AdvbenchError as error:
                raise AdvbenchError(f"{attack.label}: {name}: {error}") from error
            others[name] = self.settle(other, (*above, attack.label))
        return attack.with_others(others)

    def model(self, text: str) -> Model:
        return self._configure("model", self.models, parse(text))

    def dataset(self, text: str) -> Dataset:
        return self._configure("data set", self.datasets, parse(text))

    def defense(self, text: str) -> tuple[Defense, ...]:
        """The defenses that `a+b` names, in the order written; `none` stands alone."""
        chain = tuple(self._configure("defense", self.defenses, call) for call in parse_chain(text))
        check_chain(chain)
        return chain

    def study(self, text: str) -> Study:
        return self._configure("study", self.studies, parse(text))

    def threat(self, text: str) -> Threat:
        """The ball that a text describes: `linf(eps=8/255)`."""
        return self._configure("threat", self.threats, parse(text))

    def threat_type(self, name: str) -> type[Threat]:
        """The class of the balls of that name."""
        return type(self._find("threat", self.threats, Call(name, {})))

    def namesake(self, threat: Threat) -> str:
        """Who ships another ball of the same name; empty where nobody does."""
        others = (ball for ball in self.threats.values() if ball.name == threat.name and type(ball) is not type(threat))
        other = next(others, None)
        return "" if other is None else self.origin(other).distribution or "advbench"

    def shipper(self, threat: Threat) -> dict[str, str] | None:
        """Who shipped a stranger's ball, since its own `size` decides who is inside; None for the balls of the core."""
        return None if is_core(threat) else self.origin(threat).params()

    def find(self, kind: str, call: Call) -> Plugin:
        """The entrant whose parameters the call changes: the one of that very label, else the first of that name."""
        entrant: Plugin = self._find(kind, self.of_kind(kind), call)
        return entrant

    def of_kind(self, kind: str) -> dict[str, Any]:
        """Entrants by label, of kind `attack`, `model`, `defense`, `data set`, `threat` or `study`."""
        hook = next(hook for hook, (word, _) in KINDS.items() if word == kind)
        entrants: dict[str, Any] = getattr(self, hook.removeprefix("advbench_"))
        return entrants

    def origin(self, plugin: Plugin) -> Origin:
        """Who shipped the plugin's class; the distribution is empty when no entry point did (a notebook's class)."""
        owners = (one.origin for one in self.loaded for entrant in one.entrants if type(entrant) is type(plugin))
        return dataclasses.replace(next(owners, Origin("", "", "")), digest=source_digest(type(plugin)))

    def origin_of(self, kind: type) -> Origin:
        """Who shipped a class that is no entrant, such as an analysis: whose entrants lie in the same package."""
        package = kind.__module__.partition(".")[0]
        owners = (
            one.origin
            for one in self.loaded
            for entrant in one.entrants
            if type(entrant).__module__.partition(".")[0] == package
        )
        return dataclasses.replace(next(owners, Origin("", "", "")), digest=source_digest(kind))

    def commands(self, app: typer.Typer, taken: Iterable[str] = ()) -> dict[str, Origin]:
        """Let plugins answer `advbench_commands`; one that fails, or wants a taken name, adds none and is set aside.

        Answers who added which.
        """
        added: dict[str, Origin] = {}
        for one in list(self.loaded):
            try:
                added |= dict.fromkeys(_add_commands(one, app, set(taken)), one.origin)
            except BaseException as error:
                if by_a_person(error):
                    raise
                self.set_aside(one.origin, error)
                self.loaded.remove(one)
                for entrant in one.entrants:
                    self.of_kind(kind_of(entrant)).pop(entrant.label)
        return added

    def finished(self, database: Path) -> list[Path]:
        """Tell plugins that a run has ended; what they have rendered. One that fails is set aside."""
        rendered: list[Path] = []
        for one in self.loaded:
            try:
                with no_exit("`advbench_finished`"):
                    rendered += [path for path in one.manager.hook.advbench_finished(database=database) if path]
            except Exception as error:
                self.set_aside(one.origin, error)
        return rendered

    def describe(self) -> list[Row]:
        """Every entrant and who shipped it, kind by kind."""
        rows = [
            Row(
                kind_of(entrant),
                entrant.label,
                printable(entrant.summary),
                printable(entrant.reference),
                one.origin.distribution,
                one.origin.version,
                one.origin.entry_point,
            )
            for one in self.loaded
            for entrant in one.entrants
        ]
        return [row for word, _ in KINDS.values() for row in rows if row.kind == word]

    def set_aside(self, origin: Origin, error: BaseException) -> None:
        """Go on without a plugin, or raise its error when `strict`."""
        if self.strict:
            raise PluginError(f"{origin}: {one_line(error)}") from error
        to_blame = isinstance(error, PluginError) or not isinstance(error, AdvbenchError)
        self.broken.append(Broken(origin, one_line(error), "".join(tracebacks.format_exception(error)), to_blame))

    def _configure(self, kind: str, entrants: Mapping[str, K], call: Call) -> K:
        return configure(self._find(kind, entrants, call), call.params)

    def _find(self, kind: str, entrants: Mapping[str, K], call: Call) -> K:
        if call.label in entrants:
            return entrants[call.label]
        named = next((entrant for entrant in entrants.values() if entrant.name == call.name), None)
        if named is not None:
            return named
        names = list(dict.fromkeys(entrant.name for entrant in entrants.values()))
        known = f"known: {', '.join(names)}" if names else f"no {kind} is installed"
        raise AdvbenchError(
            f"unknown {kind} {call.name!r} ({known}){did_you_mean(call.name, names)}{self.perhaps_missing()}"
        )

    def perhaps_missing(self) -> str:
        """Why a name may be unknown that ought not to be."""
        reasons = ""
        if self.broken:
            owners = ", ".join(dict.fromkeys(f"{one.origin}: {one.error}" for one in self.broken))
            reasons += f"; a plugin that is broken may have shipped it, see `advbench plugins`: {owners}"
        if self.restriction:
            reasons += f"; {PLUGINS_VARIABLE}={self.restriction} restricts what is loaded"
        return reasons


def kind_of(plugin: Plugin) -> str:
    """`attack`, `model`, `defense`, `data set`, `threat` or `study`."""
    return next(word for word, kind in KINDS.values() if isinstance(plugin, kind))


def check_chain(chain: tuple[Defense, ...]) -> None:
    """Refuse `none+a`, which is `a`, and `a+a`."""
    labels = [defense.label for defense in chain]
    if len(labels) > 1 and "none" in labels:
        raise AdvbenchError("'none' stands alone: leave it out of a chain of defenses")
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise AdvbenchError(f"defense {twice!r} stands twice in one chain")


def _add_commands(one: Loaded, app: typer.Typer, taken: set[str]) -> set[str]:
    """Try the plugin's commands on an empty app first: what can't be built must not take the command line with it."""
    if not one.manager.hook.advbench_commands.get_hookimpls():
        return set()
    import typer

    scratch = typer.Typer()
    one.manager.hook.advbench_commands(app=scratch)
    if scratch.registered_callback is not None:
        raise PluginError("advbench_commands may add commands, not a callback")
    if not scratch.registered_commands and not scratch.registered_groups:
        return set()
    names = _command_names(scratch)
    if twice := (taken | _command_names(app)) & names:
        raise PluginError(f"the command {min(twice)!r} exists already")
    typer.main.get_command(scratch)
    app.registered_commands += scratch.registered_commands
    app.registered_groups += scratch.registered_groups
    return names


def _command_names(app: typer.Typer) -> set[str]:
    from typer.main import get_command_name

    own = {c.name or get_command_name(getattr(c.callback, "__name__", "")) for c in app.registered_commands}
    return own | {str(group.name) for group in app.registered_groups if isinstance(group.name, str)}
