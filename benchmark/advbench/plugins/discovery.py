"""Finding and loading plugins: one that breaks the contract is set aside, alone."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution

import pluggy

from advbench import hooks
from advbench.errors import AdvbenchError, PluginError, did_you_mean, shown
from advbench.interrupts import by_a_person
from advbench.plugin import Plugin
from advbench.plugins.declarations import check_declarations
from advbench.plugins.installed import PLUGINS_VARIABLE, chosen, installed, restriction
from advbench.plugins.origin import Origin, canonical
from advbench.plugins.registry import KINDS, Loaded, Registry, kind_of

CORE = EntryPoint("threats", "advbench.threats", hooks.GROUP)
"""The core's own balls: loaded like a plugin's, but no installation lacks them and no restriction leaves them out."""


def discover(*, strict: bool = False) -> Registry:
    """Load every installed plugin; one that fails at any stage is set aside, alone, unless `strict`."""
    registry = Registry(strict=strict, restriction=restriction())
    _admit(registry, _load(CORE, _core_origin()))
    for point, origin in chosen(installed(report=registry.set_aside)):
        try:
            _admit(registry, _load(point, origin))
        except BaseException as error:  # a plugin may call sys.exit
            if by_a_person(error):
                raise
            registry.set_aside(origin, error)
    _refuse_clashes(registry.loaded)
    for one in registry.loaded:
        for entrant in one.entrants:
            registry.of_kind(kind_of(entrant))[entrant.label] = entrant
    return registry


def _core_origin() -> Origin:
    try:
        owner = distribution("advbench")
    except PackageNotFoundError:  # on the path, and not installed
        owner = None
    return dataclasses.replace(Origin.of(owner, CORE.name), distribution="advbench")


def _load(point: EntryPoint, origin: Origin) -> Loaded:
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
        for name, (_, kind) in KINDS.items()
        for function in answered.get(name, ())
        for entrant in _check(function(), name, kind)
    )
    return Loaded(origin, manager, entrants)


def _check(returned: object, hook: str, kind: type[Plugin]) -> Iterator[Plugin]:
    """What a hook returned, each entrant held against the contract."""
    if not isinstance(returned, Iterable):
        raise PluginError(f"{hook} returned {shown(returned)}; it should return a list of {kind.__name__} instances")
    for entrant in returned:
        if isinstance(entrant, type):
            raise PluginError(f"{hook} returned the class {entrant.__name__}; return an instance: {entrant.__name__}()")
        if not isinstance(entrant, kind):
            raise PluginError(f"{hook} returned {shown(entrant)}, which is not an instance of {kind.__name__}")
        check_declarations(entrant)
        yield entrant


def _admit(registry: Registry, one: Loaded) -> None:
    """All entrants of an entry point, or none and an error."""
    mine: dict[tuple[str, str], type[Plugin]] = {}
    labels: set[tuple[str, str]] = set()
    for other in registry.loaded:
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
    registry.loaded.append(one)


def _refuse_clashes(loaded: list[Loaded]) -> None:
    """A name that two distributions claim would mean one thing here and another there."""
    owners: dict[tuple[str, str], dict[str, Origin]] = {}
    for one in loaded:
        for entrant in one.entrants:
            claim = owners.setdefault((kind_of(entrant), entrant.name), {})
            claim.setdefault(canonical(one.origin.distribution), one.origin)
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
