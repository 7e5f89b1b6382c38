"""From what is handed to the kit to the checks of every entrant in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import ModuleType

from advbench.data import DataFolders
from advbench.errors import AdvbenchError, PluginError
from advbench.plugin import Attack, Dataset, Defense, Model, Plugin
from advbench.plugins.declarations import check_declarations
from advbench.plugins.discovery import discover
from advbench.plugins.registry import KINDS, Broken, Registry
from advbench.plugins.spec import parse
from advbench.plugins.values import configure
from advbench.study import Study
from advbench.testing.attacks import attack_checks
from advbench.testing.check import Check, demand
from advbench.testing.datasets import dataset_checks
from advbench.testing.defenses import defense_checks
from advbench.testing.models import model_checks
from advbench.testing.studies import study_checks
from advbench.testing.threats import threat_checks
from advbench.threats import Threat, advbench_threats

Source = Plugin | Broken | ModuleType | Registry

HOOKS = tuple(KINDS)


def checks(
    *sources: Source,
    folders: DataFolders | None = None,
    balls: Iterable[Threat] | None = None,
    registry: Registry | None = None,
) -> list[Check]:
    """Every check for every entrant: of a plugin instance, of a module with hooks, or of a whole registry.

    Attacks are tried in every ball that they serve, of `balls` and of the sources; balls are those of the registry
    where none are given, and the core's without one. What an attack builds on is looked for among the sources, and then
    in the registry, or in what is installed.
    A plugin that could not be loaded fails the one check that it has. Data sets are looked for in `folders`, by default
    where `advbench` itself looks; nothing is downloaded.
    """
    folders = DataFolders((folders or DataFolders.default()).folders, download=False)
    broken = [one for source in sources for one in broken_of(source)]
    plugins = [plugin for source in sources for plugin in entrants(source)]
    if not plugins and not broken:
        raise AdvbenchError("nothing to check: give plugins, or modules whose @hookimpl functions return some")
    if balls is None:
        balls = advbench_threats() if registry is None else registry.threats.values()
    known = {ball.name: ball for ball in [*balls, *plugins] if isinstance(ball, Threat)}
    settle = partial(_settle, registry, [plugin for plugin in plugins if isinstance(plugin, Attack)])
    tried = (check for plugin in plugins for check in plugin_checks(plugin, folders, known, settle))
    return [*map(loading, broken), *tried]


def _settle(registry: Registry | None, beside: Sequence[Attack], attack: Attack) -> Attack:
    """With the attacks that it builds on."""
    if not attack.builds_on:
        return attack
    registry = registry or discover()
    attacks = registry.attacks | {one.label: one for one in beside if hasattr(one, "name")}
    return replace(registry, attacks=attacks).settle(attack)


def broken_of(source: Source) -> list[Broken]:
    return [source] if isinstance(source, Broken) else source.broken if isinstance(source, Registry) else []


def loading(broken: Broken) -> Check:
    return Check(broken.origin.distribution, "can-be-loaded", partial(_raise, PluginError(str(broken))))


def entrants(source: Source) -> Iterator[Plugin]:
    if isinstance(source, Broken):
        return
    if isinstance(source, Plugin):
        yield source
    elif isinstance(source, Registry):
        for kind, _ in KINDS.values():
            yield from source.of_kind(kind).values()
    elif isinstance(source, ModuleType):
        for name in HOOKS:
            hook = getattr(source, name, None)
            if hook is not None and not hasattr(hook, "advbench_impl"):
                raise PluginError(f"{source.__name__}.{name} lacks the mark @hookimpl (from advbench.hooks)")
            for plugin in hook() if hook is not None else ():
                if not isinstance(plugin, Plugin):
                    raise PluginError(f"{source.__name__}.{name} returned {plugin!r}; return instances of plugins")
                yield plugin
    else:
        raise AdvbenchError(f"can't check {source!r}: give a plugin instance, a module or a registry")


def plugin_checks(
    plugin: Plugin, folders: DataFolders, balls: Mapping[str, Threat], settle: Callable[[Attack], Attack]
) -> Iterator[Check]:
    label = str(getattr(plugin, "label", "") if hasattr(plugin, "name") else type(plugin).__name__)
    try:
        check_declarations(plugin)
    except PluginError as error:  # the other checks read what is missing here
        yield Check(label, "is-declared", partial(_raise, error), on_paper=True)
        return
    yield Check(label, "is-declared", partial(check_declarations, plugin), on_paper=True)
    yield Check(label, "survives-json-and-its-label", partial(survives_json_and_its_label, plugin), on_paper=True)
    if isinstance(plugin, Attack):
        yield from attack_checks(plugin, balls, settle)
    elif isinstance(plugin, Threat):
        yield from threat_checks(plugin)
    elif isinstance(plugin, Model):
        yield from model_checks(plugin)
    elif isinstance(plugin, Defense):
        yield from defense_checks(plugin)
    elif isinstance(plugin, Dataset):
        yield from dataset_checks(plugin, folders)
    elif isinstance(plugin, Study):
        yield from study_checks(plugin)


def survives_json_and_its_label(plugin: Plugin) -> None:
    """What is stored of it, and what is shown of it, make it again."""
    stored = json.loads(json.dumps(plugin.params(), allow_nan=False))
    for how, params in (("JSON", stored), ("its label", parse(plugin.label).params)):
        again = configure(type(plugin), params)
        demand(again == plugin, f"made again from {how} it is {again!r}; use numbers, texts, truths and lists")


def _raise(error: Exception) -> None:
    raise error
