"""What a plugin declares, held against the contract of its kind."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from advbench.access import Access
from advbench.errors import PluginError, shown
from advbench.geometry import Geometry
from advbench.parameters import default_of
from advbench.plugin import Attack, Dataset, Defense, Model, Part, Plugin
from advbench.plugins.spec import parse
from advbench.threats import Threat

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
_FLAGS = (
    "targeted",
    "minimizes",
    "measures",
    "uses_bank",
    "beyond_gradients",
    "trains",
    "detects",
    "differentiable",
    "reads_features",
    "fits",
    "trained_behind",
    "mirrorable",
    "publishable",
)
_DECLARATIONS = {
    "name",
    "reference",
    "threats",
    "geometry",
    "needs",
    "scope",
    "builds_on",
    "further",
    "trial",
    "certifies",
    "offers",
    "requires",
    "keeps",
    "shape",
    "classes",
    "class_names",
    "feature_layer",
    *_FLAGS,
}
_RESERVED = {"label", "params", "summary"}
_OF_ATTACKS = {"others"}
"""What attacks have beside that."""
_OF_BALLS = {"unbounded", "shareable", "levels", "convex", "tolerance", "norm", "radius", "family"}
"""Declarations of balls and what follows from them; other plugins may have parameters of these names."""


def check_declarations(plugin: Plugin) -> None:
    """Raise a PluginError that says what is wrong with the class, and how to write it."""
    kind = type(plugin)
    title = f"{kind.__module__}.{kind.__qualname__}"
    fields = {f.name for f in dataclasses.fields(plugin)}
    for base in kind.__mro__:
        for key, annotation in inspect.get_annotations(base).items() if issubclass(base, Plugin) else ():
            if key not in fields and "ClassVar" not in str(annotation):
                raise PluginError(f"{title}: decorate the class with @dataclass(frozen=True), or {key!r} is lost")
    if taken := sorted((_DECLARATIONS | (_OF_BALLS if isinstance(plugin, Threat) else set())) & fields):
        raise PluginError(f"{title}: {taken[0]!r} is a declaration; write it without an annotation, `{taken[0]} = …`")
    if taken := sorted((_RESERVED | (_OF_ATTACKS if isinstance(plugin, Attack) else set())) & fields):
        other = f"field(metadata={{'parameter': {taken[0]!r}}})"
        raise PluginError(f"{title}: the field {taken[0]!r} hides what every plugin has; rename it, with {other}")
    name = getattr(plugin, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        given = "declares no name" if name is None else f"has the name {shown(name)}"
        raise PluginError(f"{title} {given}; a name is made of a-z, 0-9, '-' and '.', as in `name = \"my-attack\"`")
    for declaration, wanted, right in _declarations(plugin):
        value = getattr(plugin, declaration, None)
        if not right(value):
            given = (
                f"declares no {declaration}"
                if value is None or value == frozenset()
                else f"declares {declaration} = {shown(value)}"
            )
            raise PluginError(f"{title} {given}; write `{declaration} = {wanted}`")
    if isinstance(plugin, Threat) and (moved := _away_from_defaults(plugin)):
        raise PluginError(
            f"{title}: it is entered with {moved[0]}={shown(getattr(plugin, moved[0]))}; enter it at its defaults, "
            "which suites mean that say nothing"
        )
    try:
        json.dumps(plugin.params(), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise PluginError(f"{title}: a parameter has a value that JSON can't hold: {error}") from error
    if str(plugin.label) != parse(plugin.label).label:
        raise PluginError(f"{title}: its label {shown(plugin.label)} can't be read back")


def _declarations(plugin: Plugin) -> Iterator[tuple[str, str, Any]]:
    """Declarations that this kind must make: the name, an example, and a test of the value."""
    for flag in _FLAGS:
        if hasattr(plugin, flag):
            yield flag, "True", lambda value: isinstance(value, bool)
    yield "reference", '"Author et al., 2020"', lambda value: isinstance(value, str)
    if plugin.further:
        yield (
            "further",
            '"arguments"',
            lambda value: value in _fields(plugin) and isinstance(getattr(plugin, value), tuple),
        )
    access = {Attack: ("needs",), Model: ("offers",), Defense: ("requires", "keeps")}
    for kind, names in access.items():
        if isinstance(plugin, kind):
            for name in names:
                yield name, "Access.GRADIENTS", lambda value: isinstance(value, Access)
    if isinstance(plugin, Part):
        yield "shape", "(3, 32, 32)", lambda value: value is None or _is_shape(value)
        yield "classes", "10", lambda value: value is None or (type(value) is int and value >= 2)
    if isinstance(plugin, Model):
        yield "feature_layer", '"fc6"', lambda value: isinstance(value, str)
    if isinstance(plugin, Attack):
        yield "geometry", "Geometry.ASCENT", lambda value: value is None or isinstance(value, Geometry)
        balls = 'frozenset({"linf", "l2"})'
        yield (
            "threats",
            balls,
            lambda value: isinstance(value, frozenset) and (_texts(value) or plugin.geometry is not None),
        )
        yield "scope", '"example"', lambda value: value in ("example", "set")
        yield "builds_on", '("attack",)', lambda value: isinstance(value, tuple) and _are_texts(plugin, value)
    if isinstance(plugin, Threat):
        for flag in ("unbounded", "shareable", "levels", "convex"):
            yield flag, "True", lambda value: isinstance(value, bool)
        yield "tolerance", "1e-6", lambda value: isinstance(value, float) and 0 < value < 1
        yield "offers", "Geometry.START | Geometry.ASCENT", lambda value: isinstance(value, Geometry)
        yield "norm", '"l2"', lambda value: isinstance(value, str)
    if isinstance(plugin, Defense):
        yield "certifies", '"l2"', lambda value: isinstance(value, str)
    if isinstance(plugin, Attack | Defense):
        yield "trial", "{}", lambda value: isinstance(value, dict) and set(value) <= _fields(plugin)
    if isinstance(plugin, Dataset):
        yield "shape", "(1, 28, 28)", _is_shape
        yield "class_names", '("cat", "dog")', lambda v: isinstance(v, tuple) and _texts(v) and len(v) >= 2


def _away_from_defaults(plugin: Plugin) -> list[str]:
    defaults = {f.name: default_of(f) for f in dataclasses.fields(plugin)}
    return [n for n, value in defaults.items() if value is not dataclasses.MISSING and getattr(plugin, n) != value]


def _fields(plugin: Plugin) -> set[str]:
    return {field.name for field in dataclasses.fields(plugin)}


def _are_texts(plugin: Plugin, parameters: Iterable[object]) -> bool:
    """Whether these are names of parameters that hold a text."""
    return all(name in _fields(plugin) and isinstance(getattr(plugin, str(name)), str) for name in parameters)


def _texts(values: Iterable[object]) -> bool:
    values = list(values)
    return bool(values) and all(isinstance(value, str) and value for value in values)


def _is_shape(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 3 and all(type(n) is int and n > 0 for n in value)
