"""Which plugins are installed: what the metadata of distributions say, before any of their code is loaded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points

from advbench import hooks
from advbench.errors import AdvbenchError, PluginError, did_you_mean
from advbench.plugins.origin import Origin, canonical

PLUGINS_VARIABLE = "ADVBENCH_PLUGINS"
"""Entry points or distributions, with commas between, that alone are loaded; `builtin` is all of advbench's."""

Point = tuple[EntryPoint, Origin]
Report = Callable[[Origin, BaseException], None]


def restriction() -> str:
    """The value of `ADVBENCH_PLUGINS`, by which a user restricts whose plugins are loaded."""
    return os.environ.get(PLUGINS_VARIABLE, "")


def installed(group: str = hooks.GROUP, report: Report | None = None) -> list[Point]:
    """Every entry point of a group, advbench's own first, then by distribution and name.

    A distribution whose metadata can't be read is reported and left out.
    """
    try:
        points = list(entry_points(group=group))
    except Exception:  # one unreadable entry_points.txt anywhere: go through the distributions one by one
        points = [point for one in distributions() for point in _points_of(one, group, report)]
    newest = {
        (owner.distribution, owner.entry_point): (point, owner) for point, owner in map(_with_origin, reversed(points))
    }
    return sorted(newest.values(), key=lambda one: (not one[1].built_in, *_sort_key(one[1])))


def chosen(points: Iterable[Point]) -> list[Point]:
    """What `ADVBENCH_PLUGINS` lets through: all of it when the variable is empty."""
    points = list(points)
    wanted = [word.strip() for word in restriction().split(",") if word.strip()]
    if not wanted:
        return points
    origins = [origin for group in (hooks.GROUP, hooks.COMMAND_GROUP) for _, origin in installed(group)]
    known = sorted(set().union(*(origin.names for origin in origins)))
    for word in wanted:
        if not any(origin.is_called(word) for origin in origins):
            raise AdvbenchError(
                f"{PLUGINS_VARIABLE}: no installed plugin is called {word!r} "
                f"(known: {', '.join(name for name in known if ':' not in name)}){did_you_mean(word, known)}"
            )
    return [(point, origin) for point, origin in points if any(origin.is_called(word) for word in wanted)]


def _points_of(distribution: Distribution, group: str, report: Report | None) -> list[EntryPoint]:
    try:
        return [point for point in distribution.entry_points if point.group == group]
    except Exception as error:
        if report and f"[{group}]" in (distribution.read_text("entry_points.txt") or ""):
            problem = PluginError(f"its entry_points.txt can't be read: {error}")
            report(Origin.of(distribution, "?"), problem)
        return []


def _with_origin(point: EntryPoint) -> Point:
    return point, Origin.of(point.dist, point.name)


def _sort_key(origin: Origin) -> tuple[str, str]:
    return canonical(origin.distribution), origin.entry_point
