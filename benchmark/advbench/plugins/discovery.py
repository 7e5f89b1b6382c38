"""Finding and loading plugins: one that breaks the contract is set aside, alone."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distribution, distributions, entry_points

import pluggy

from advbench import hooks
from advbench.errors import AdvbenchError, PluginError, did_you_mean, shown
from advbench.plugin import Plugin
from advbench.plugins.declarations import check_declarations
from advbench.plugins.origin import Origin, canonical
from advbench.plugins.registry import KINDS, PLUGINS_VARIABLE, Loaded, Registry, kind_of

CORE = EntryPoint("threats", "advbench.threats", hooks.GROUP)
"""The core's own balls: loaded like a plugin's, but no installation lacks them and no restriction leaves them out."""


def discover(*, strict: bool = False) -> Registry:
    """Load every installed plugin; one that fails at any stage is set aside, alone, unless `strict`."""
    registry = Registry(strict=strict, restriction=os.environ.get(PLUGINS_VARIABLE, ""))
    _admit(registry, _load(CORE, _core_origin()))
    points = list(_installed(registry))
    for point, origin in _chosen(points, registry.restriction):
        try:
            _admit(registry, _load(point, origin))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may call sys.exit
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


def _installed(registry: Registry) -> Iterator[tuple[EntryPoint, Origin]]:
    """Every entry point of the group: advbench's own first, then by distribution and name."""
    try:
        points = list(entry_points(group=hooks.GROUP))
    except Exception:  # one unreadable entry_points.txt anywhere: go through the distributions one by one
        points = [point for distribution in distributions() for point in _points_of(distribution, registry)]
    found = {(owner.distribution, owner.entry_point): (point, owner) for point, owner in map(_owned, reversed(points))}
    yield from sorted(found.values(), key=lambda one: (one[1].distribution != "advbench", *_sort_key(one[1])))


def _sort_key(origin: Origin) -> tuple[str, str]:
    return canonical(origin.distribution), origin.entry_point


def _points_of(distribution: Distribution, registry: Registry) -> list[EntryPoint]:
    try:
        return [point for point in distribution.entry_points if point.group == hooks.GROUP]
    except Exception as error:
        if f"[{hooks.GROUP}]" in (distribution.read_text("entry_points.txt") or ""):
            problem = PluginError(f"its entry_points.txt can't be read: {error}")
            registry.set_aside(Origin.of(distribution, "?"), problem)
        return []


def _owned(point: EntryPoint) -> tuple[EntryPoint, Origin]:
    return point, Origin.of(point.dist, point.name)


def _chosen(points: list[tuple[EntryPoint, Origin]], restriction: str) -> list[tuple[EntryPoint, Origin]]:
    """What `ADVBENCH_PLUGINS` lets through: all of it when the variable is empty."""
    wanted = [word.strip() for word in restriction.split(",") if word.strip()]
    if not wanted:
        return points
    known = sorted(set().union(*(origin.names for _, origin in points)))
    for word in wanted:
        if not any(origin.is_called(word) for _, origin in points):
            raise AdvbenchError(
                f"{PLUGINS_VARIABLE}: no installed plugin is called {word!r} "
                f"(known: {', '.join(name for name in known if ':' not in name)}){did_you_mean(word, known)}"
            )
    return [(point, origin) for point, origin in points if any(origin.is_called(word) for word in wanted)]


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
        for entrant in _checked(function(), name, kind)
    )
    return Loaded(origin, manager, entrants)


def _checked(returned: object, hook: str, kind: type[Plugin]) -> Iterator[Plugin]:
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
