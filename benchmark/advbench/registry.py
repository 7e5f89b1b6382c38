"""Which plugins are installed, who shipped them, and which were set aside."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
import os
import re
import sys
import traceback as tracebacks
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from advbench import hooks
from advbench.access import Access
from advbench.errors import AdvbenchError, PluginError
from advbench.plugin import Attack, Dataset, Defense, Model, Plugin
from advbench.spec import Call, configure, did_you_mean, parse, parse_chain

if TYPE_CHECKING:
    import typer

K = TypeVar("K", bound=Plugin)

PLUGINS_VARIABLE = "ADVBENCH_PLUGINS"
"""Entry points or distributions, with commas between, that alone are loaded; `builtin` is all of advbench's."""

_KINDS: dict[str, tuple[str, type[Plugin]]] = {
    "advbench_attacks": ("attack", Attack),
    "advbench_models": ("model", Model),
    "advbench_defenses": ("defense", Defense),
    "advbench_datasets": ("data set", Dataset),
}
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
_FLAGS = ("targeted", "minimizes", "trains", "detects", "differentiable")
_DECLARATIONS = {
    "name",
    "reference",
    "threats",
    "needs",
    "offers",
    "requires",
    "keeps",
    "shape",
    "class_names",
    *_FLAGS,
}
_RESERVED = {"label", "params", "summary"}


@dataclass(frozen=True)
class Origin:
    """Who shipped a plugin."""

    distribution: str
    version: str
    entry_point: str
    digest: str = ""
    """Of the Python sources that define the plugin's class; empty where there are none to read."""

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} (entry point {self.entry_point})"

    def params(self) -> dict[str, str]:
        """What a content key takes in."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Broken:
    """A plugin that was set aside."""

    origin: Origin
    error: str
    traceback: str


@dataclass(frozen=True)
class Row:
    """An entrant, for `advbench plugins`."""

    kind: str
    label: str
    summary: str
    reference: str
    distribution: str
    version: str
    entry_point: str


@dataclass(frozen=True)
class _Loaded:
    """An entry point that has answered."""

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
    broken: list[Broken] = field(default_factory=list)
    strict: bool = False
    restriction: str = ""
    """What `ADVBENCH_PLUGINS` said."""
    loaded: list[_Loaded] = field(default_factory=list, repr=False)

    def attack(self, text: str) -> Attack:
        """The attack that a text names, with the parameters that it gives."""
        return self._configured("attack", self.attacks, parse(text))

    def model(self, text: str) -> Model:
        return self._configured("model", self.models, parse(text))

    def dataset(self, text: str) -> Dataset:
        return self._configured("data set", self.datasets, parse(text))

    def defense(self, text: str) -> tuple[Defense, ...]:
        """The defenses that `a+b` names, in the order written; `none` stands alone."""
        chain = tuple(self._configured("defense", self.defenses, call) for call in parse_chain(text))
        check_chain(chain)
        return chain

    def find(self, kind: str, call: Call) -> Plugin:
        """The entrant whose parameters the call changes: the one of that very label, else the first of that name."""
        found: Plugin = self._find(kind, self.of_kind(kind), call)
        return found

    def of_kind(self, kind: str) -> dict[str, Any]:
        """Entrants by label, of kind `attack`, `model`, `defense` or `data set`."""
        hook = next(hook for hook, (word, _) in _KINDS.items() if word == kind)
        entrants: dict[str, Any] = getattr(self, hook.removeprefix("advbench_"))
        return entrants

    def origin(self, plugin: Plugin) -> Origin:
        """Who shipped the plugin's class; the distribution is empty when no entry point did (a notebook's class)."""
        owners = (one.origin for one in self.loaded for entrant in one.entrants if type(entrant) is type(plugin))
        return dataclasses.replace(next(owners, Origin("", "", "")), digest=source_digest(type(plugin)))

    def commands(self, app: typer.Typer) -> None:
        """Let plugins add commands to the command line; one that fails adds none and is set aside."""
        for one in list(self.loaded):
            try:
                _add_commands(one, app)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                self._set_aside(one.origin, error)
                self.loaded.remove(one)
                for entrant in one.entrants:
                    self.of_kind(kind_of(entrant)).pop(entrant.label)

    def finished(self, database: Path) -> list[Path]:
        """Tell plugins that a run has ended; what they have rendered. One that fails is set aside."""
        rendered: list[Path] = []
        for one in self.loaded:
            try:
                rendered += [path for path in one.manager.hook.advbench_finished(database=database) if path]
            except Exception as error:
                self._set_aside(one.origin, error)
        return rendered

    def describe(self) -> list[Row]:
        """Every entrant and who shipped it."""
        return [
            Row(
                kind_of(entrant),
                entrant.label,
                _plain(entrant.summary),
                _plain(entrant.reference),
                one.origin.distribution,
                one.origin.version,
                one.origin.entry_point,
            )
            for one in self.loaded
            for entrant in one.entrants
        ]

    def _configured(self, kind: str, entrants: Mapping[str, K], call: Call) -> K:
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
            f"unknown {kind} {call.name!r} ({known}){did_you_mean(call.name, names)}{self._perhaps_missing()}"
        )

    def _perhaps_missing(self) -> str:
        """Why a name may be unknown that ought not to be."""
        reasons = ""
        if self.broken:
            owners = ", ".join(dict.fromkeys(str(one.origin) for one in self.broken))
            reasons += f"; a plugin that was set aside may have shipped it: {owners}, see `advbench plugins`"
        if self.restriction:
            reasons += f"; {PLUGINS_VARIABLE}={self.restriction} restricts what is loaded"
        return reasons

    def _admit(self, one: _Loaded) -> None:
        """All entrants of an entry point, or none and an error."""
        mine: dict[tuple[str, str], type[Plugin]] = {}
        labels: set[tuple[str, str]] = set()
        for other in self.loaded:
            if other.origin.distribution == one.origin.distribution:
                mine |= {(kind_of(e), e.name): type(e) for e in other.entrants}
                labels |= {(kind_of(e), e.label) for e in other.entrants}
        for entrant in one.entrants:
            kind = kind_of(entrant)
            if (kind, entrant.label) in labels:
                raise PluginError(f"{kind} {entrant.label!r} is entered twice")
            if mine.setdefault((kind, entrant.name), type(entrant)) is not type(entrant):
                raise PluginError(f"{kind} {entrant.name!r} is the name of two classes")
            labels.add((kind, entrant.label))
        self.loaded.append(one)

    def _set_aside(self, origin: Origin, error: BaseException) -> None:
        if self.strict:
            raise PluginError(f"{origin}: {_one_line(error)}") from error
        self.broken.append(Broken(origin, _one_line(error), "".join(tracebacks.format_exception(error))))


def discover(*, strict: bool = False) -> Registry:
    """Load every installed plugin; one that fails at any stage is set aside, alone, unless `strict`."""
    registry = Registry(strict=strict, restriction=os.environ.get(PLUGINS_VARIABLE, ""))
    points = list(_installed(registry))
    for point, origin in _chosen(points, registry.restriction):
        try:
            registry._admit(_load(point, origin))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may call sys.exit
            registry._set_aside(origin, error)
    _refuse_clashes(registry.loaded)
    for one in registry.loaded:
        for entrant in one.entrants:
            registry.of_kind(kind_of(entrant))[entrant.label] = entrant
    return registry


def kind_of(plugin: Plugin) -> str:
    """`attack`, `model`, `defense` or `data set`."""
    return next(word for word, kind in _KINDS.values() if isinstance(plugin, kind))


def check_chain(chain: tuple[Defense, ...]) -> None:
    """Refuse `none+a`, which is `a`, and `a+a`."""
    labels = [defense.label for defense in chain]
    if len(labels) > 1 and "none" in labels:
        raise AdvbenchError("'none' stands alone: leave it out of a chain of defenses")
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise AdvbenchError(f"defense {twice!r} stands twice in one chain")


def _installed(registry: Registry) -> Iterator[tuple[EntryPoint, Origin]]:
    """Every entry point of the group: advbench's own first, then by distribution and name."""
    try:
        points = list(entry_points(group=hooks.GROUP))
    except Exception:  # one unreadable entry_points.txt anywhere: go through the distributions one by one
        points = [point for distribution in distributions() for point in _points_of(distribution, registry)]
    found = {(owner.distribution, owner.entry_point): (point, owner) for point, owner in map(_owned, reversed(points))}
    yield from sorted(found.values(), key=lambda one: (one[1].distribution != "advbench", *_sort_key(one[1])))


def _sort_key(origin: Origin) -> tuple[str, str]:
    return _canonical(origin.distribution), origin.entry_point


def _points_of(distribution: Distribution, registry: Registry) -> list[EntryPoint]:
    try:
        return [point for point in distribution.entry_points if point.group == hooks.GROUP]
    except Exception as error:
        if f"[{hooks.GROUP}]" in (distribution.read_text("entry_points.txt") or ""):
            problem = PluginError(f"its entry_points.txt can't be read: {error}")
            registry._set_aside(_origin(distribution, "?"), problem)
        return []


def _owned(point: EntryPoint) -> tuple[EntryPoint, Origin]:
    return point, _origin(point.dist, point.name)


def _origin(distribution: Distribution | None, entry_point: str) -> Origin:
    try:
        name = str(distribution.name) if distribution else "?"
        version = str(distribution.version) if distribution else "?"
    except Exception:  # metadata without a name or a version
        name, version = "?", "?"
    return Origin(_plain(name), _plain(version), _plain(entry_point))


def _canonical(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _chosen(points: list[tuple[EntryPoint, Origin]], restriction: str) -> list[tuple[EntryPoint, Origin]]:
    """What `ADVBENCH_PLUGINS` lets through: all of it when the variable is empty."""
    wanted = [word.strip() for word in restriction.split(",") if word.strip()]
    if not wanted:
        return points
    names = {id(point): _names(origin) for point, origin in points}
    known = sorted(set().union(*names.values()))
    for word in wanted:
        if not any(word in some or _canonical(word) in some for some in names.values()):
            raise AdvbenchError(
                f"{PLUGINS_VARIABLE}: no installed plugin is called {word!r} "
                f"(known: {', '.join(name for name in known if ':' not in name)}){did_you_mean(word, known)}"
            )
    allowed = {*wanted, *map(_canonical, wanted)}
    return [(point, origin) for point, origin in points if names[id(point)] & allowed]


def _names(origin: Origin) -> set[str]:
    """What an entry point may be called: its name, its distribution, or both with a colon between."""
    owner = _canonical(origin.distribution)
    builtin = {"builtin"} if owner == "advbench" else set()
    return {origin.entry_point, owner, f"{owner}:{origin.entry_point}"} | builtin


def _load(point: EntryPoint, origin: Origin) -> _Loaded:
    answers = point.load()
    manager = pluggy.PluginManager("advbench")  # one each, so that none sees what another has broken
    manager.add_hookspecs(hooks)
    manager.register(answers, origin.entry_point)
    callers = manager.get_hookcallers(answers) or []
    known = [name for name in vars(hooks) if name.startswith("advbench_")]
    for caller in callers:
        if not caller.has_spec():
            raise PluginError(f"it answers an unknown hook {caller.name!r}{did_you_mean(caller.name, known)}")
    answered = {caller.name: [impl.function for impl in caller.get_hookimpls()] for caller in callers}
    if any(impl.wrapper or impl.hookwrapper for caller in callers for impl in caller.get_hookimpls()):
        raise PluginError("it wraps a hook; plugins only answer hooks")
    for name in known:
        if name not in answered and inspect.isroutine(getattr(answers, name, None)):
            raise PluginError(f"its function {name} lacks the mark @hookimpl (from advbench.hooks)")
    if not answered:
        raise PluginError(f"it answers no hook; write a function {' or '.join(known)} marked @hookimpl")
    entrants = tuple(
        entrant
        for name, (_, kind) in _KINDS.items()
        for function in answered.get(name, ())
        for entrant in _checked(function(), name, kind)
    )
    return _Loaded(origin, manager, entrants)


def _checked(returned: object, hook: str, kind: type[Plugin]) -> Iterator[Plugin]:
    """What a hook returned, each entrant held against the contract."""
    if not isinstance(returned, Iterable):
        raise PluginError(f"{hook} returned {_shown(returned)}; it should return a list of {kind.__name__} instances")
    for entrant in returned:
        if isinstance(entrant, type):
            raise PluginError(f"{hook} returned the class {entrant.__name__}; return an instance: {entrant.__name__}()")
        if not isinstance(entrant, kind):
            raise PluginError(f"{hook} returned {_shown(entrant)}, which is not an instance of {kind.__name__}")
        check_declarations(entrant)
        yield entrant


def check_declarations(plugin: Plugin) -> None:
    """Raise a PluginError that says what is wrong with the class, and how to write it."""
    kind = type(plugin)
    title = f"{kind.__module__}.{kind.__qualname__}"
    fields = {f.name for f in dataclasses.fields(plugin)}
    for base in kind.__mro__:
        for key, annotation in inspect.get_annotations(base).items() if issubclass(base, Plugin) else ():
            if key not in fields and "ClassVar" not in str(annotation):
                raise PluginError(f"{title}: decorate the class with @dataclass(frozen=True), or {key!r} is lost")
    if taken := sorted(_DECLARATIONS & fields):
        raise PluginError(f"{title}: {taken[0]!r} is a declaration; write it without an annotation, `{taken[0]} = …`")
    if taken := sorted(_RESERVED & fields):
        other = f"field(metadata={{'parameter': {taken[0]!r}}})"
        raise PluginError(f"{title}: the field {taken[0]!r} hides what every plugin has; rename it, with {other}")
    name = getattr(plugin, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        given = "declares no name" if name is None else f"has the name {_shown(name)}"
        raise PluginError(f"{title} {given}; a name is made of a-z, 0-9, '-' and '.', as in `name = \"my-attack\"`")
    for declaration, wanted, right in _declared(plugin):
        value = getattr(plugin, declaration, None)
        if not right(value):
            given = f"declares no {declaration}" if value is None else f"declares {declaration} = {_shown(value)}"
            raise PluginError(f"{title} {given}; write `{declaration} = {wanted}`")
    try:
        json.dumps(plugin.params(), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise PluginError(f"{title}: a parameter has a value that JSON can't hold: {error}") from error
    if str(plugin.label) != parse(plugin.label).label:
        raise PluginError(f"{title}: its label {_shown(plugin.label)} can't be read back")


def _declared(plugin: Plugin) -> Iterator[tuple[str, str, Any]]:
    """Declarations that this kind must make: the name, an example, and a test of the value."""
    for flag in _FLAGS:
        if hasattr(plugin, flag):
            yield flag, "True", lambda value: isinstance(value, bool)
    yield "reference", '"Author et al., 2020"', lambda value: isinstance(value, str)
    access = {Attack: ("needs",), Model: ("offers",), Defense: ("requires", "keeps")}
    for kind, names in access.items():
        if isinstance(plugin, kind):
            for name in names:
                yield name, "Access.GRADIENTS", lambda value: isinstance(value, Access)
    if isinstance(plugin, Attack):
        yield "threats", 'frozenset({"linf", "l2"})', lambda value: isinstance(value, frozenset) and _texts(value)
    if isinstance(plugin, Dataset):
        yield "shape", "(1, 28, 28)", _is_shape
        yield "class_names", '("cat", "dog")', lambda v: isinstance(v, tuple) and _texts(v) and len(v) >= 2


def _texts(values: Iterable[object]) -> bool:
    values = list(values)
    return bool(values) and all(isinstance(value, str) and value for value in values)


def _is_shape(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 3 and all(type(n) is int and n > 0 for n in value)


def _refuse_clashes(loaded: list[_Loaded]) -> None:
    """A name that two distributions claim would mean one thing here and another there."""
    owners: dict[tuple[str, str], dict[str, Origin]] = {}
    for one in loaded:
        for entrant in one.entrants:
            claim = owners.setdefault((kind_of(entrant), entrant.name), {})
            claim.setdefault(_canonical(one.origin.distribution), one.origin)
    clashes = [
        f"{kind} {name!r} is claimed by {' and by '.join(map(str, claim.values()))}"
        for (kind, name), claim in owners.items()
        if len(claim) > 1
    ]
    if clashes:
        raise AdvbenchError(
            "; ".join(clashes) + f": uninstall one of them, or name what to load, as in {PLUGINS_VARIABLE}=builtin "
            "(entry points or distributions, with commas between)"
        )


def _add_commands(one: _Loaded, app: typer.Typer) -> None:
    """Try the plugin's commands on an empty app first: what can't be built must not take the command line with it."""
    if not one.manager.hook.advbench_commands.get_hookimpls():
        return
    import typer

    scratch = typer.Typer()
    one.manager.hook.advbench_commands(app=scratch)
    if scratch.registered_callback is not None:
        raise PluginError("advbench_commands may add commands, not a callback")
    if not scratch.registered_commands and not scratch.registered_groups:
        return
    taken = _command_names(app) & _command_names(scratch)
    if taken:
        raise PluginError(f"the command {min(taken)!r} exists already")
    typer.main.get_command(scratch)
    app.registered_commands += scratch.registered_commands
    app.registered_groups += scratch.registered_groups


def _command_names(app: typer.Typer) -> set[str]:
    from typer.main import get_command_name

    own = {c.name or get_command_name(getattr(c.callback, "__name__", "")) for c in app.registered_commands}
    return own | {str(group.name) for group in app.registered_groups if isinstance(group.name, str)}


def source_digest(kind: type) -> str:
    """A hash of the Python sources that define a class and what it inherits, the core and Python's own left out.

    An editable installation changes without a new version, so a version alone would not tell results apart.
    """
    homes = [home for home in map(_home, kind.__mro__) if home not in sys.stdlib_module_names]
    inherited = sorted({home for home in homes if home != "advbench"} - {_home(kind)})
    parts = [_digest(home) or _own_source(kind, home) for home in [_home(kind), *inherited]]
    return parts[0] if len(parts) == 1 else hashlib.sha256("".join(parts).encode()).hexdigest()


def _home(kind: type) -> str:
    """The outermost package that has a file of its own (a namespace package belongs to nobody), or the module."""
    parts = kind.__module__.split(".")
    paths = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return next((path for path in paths if getattr(sys.modules.get(path), "__file__", None)), kind.__module__)


@functools.cache
def _digest(module: str) -> str:
    file = getattr(sys.modules.get(module), "__file__", None)
    if not file or not Path(file).is_file():
        return ""
    root = Path(file).parent
    package = hasattr(sys.modules[module], "__path__")
    sources = {path.relative_to(root).as_posix(): path for path in (root.rglob("*.py") if package else [Path(file)])}
    digest = hashlib.sha256()
    for name, path in sorted(sources.items()):
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _own_source(kind: type, home: str) -> str:
    """The text of a class that no file holds (a notebook's), where Python still knows it."""
    try:
        return hashlib.sha256(inspect.getsource(kind).encode()).hexdigest() if _home(kind) == home else ""
    except (OSError, TypeError):
        return ""


def _plain(text: str) -> str:
    """Without control characters, which would steer a terminal."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def _shown(value: object) -> str:
    try:
        return _plain(repr(value))[:80]
    except Exception:  # a stranger's repr
        return f"a {type(value).__name__}"


def _one_line(error: BaseException) -> str:
    try:
        text = _plain(str(error))
    except Exception:
        text = "(its message can't be read)"
    name = "" if isinstance(error, PluginError) else type(error).__name__
    return ": ".join(part for part in (name, text) if part)
