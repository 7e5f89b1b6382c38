"""YAML, options and mappings as items that know where they were written: what a suite is resolved from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from advbench.errors import AdvbenchError
from advbench.parameters import Parametric
from advbench.plugins.spec import Call, parse_value

_MOST_NODES = 20_000
_DEEPEST = 50
_TAGS = {"map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge", "value"}
"""What YAML itself finds in plain data; any other was asked for."""


@dataclass(frozen=True)
class Place:
    """Where something was written: a line and column of a file, an option, or a path into a mapping."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source

    def moved(self, characters: int) -> Place:
        return dataclasses.replace(self, column=self.column + characters) if self.line else self


@dataclass(frozen=True)
class Item:
    """A piece of a suite: a list of items, items by key, or a value, with its text as it was written."""

    value: Any
    place: Place
    text: str | None = None
    key: Place | None = None
    quotes: int = 0
    flow: bool = False
    """Whether it stands inside `[ ]`, where YAML itself splits at commas."""

    def at(self, position: int) -> Place:
        return self.place.moved(position + self.quotes)

    @property
    def parameter(self) -> Any:
        """The value as a parameter holds it: `{linf: {eps: 0.3}}` is the text `linf(eps=0.3)`."""
        if isinstance(self.value, list):
            return [item.parameter for item in self.value]
        if isinstance(self.value, dict):
            (name, inner), *rest = self.value.items() or [("", self)]
            if rest or not isinstance(inner.value, dict) or inner is self:
                return {key: item.parameter for key, item in self.value.items()}
            return Call(name, {key: item.parameter for key, item in inner.value.items()}).label
        return self.value.label if isinstance(self.value, Parametric) else self.value


Fault = Callable[[Place, str], None]
"""Takes a mistake and lets the reading go on, so that all are told at once."""


def from_option(value: Any, option: str) -> Item:
    """The value of a command-line option as an item of a suite."""
    if isinstance(value, list | tuple):
        return Item([Item(text, Place(f'{option} "{text}"'), text) for text in value], Place(option))
    return Item(value, Place(option))


def from_python(value: Any, path: str) -> Item:
    place = Place(path or "suite")
    if isinstance(value, Mapping):
        inner = {str(k): from_python(v, f"{path}.{k}" if path else str(k)) for k, v in value.items()}
        return Item({k: dataclasses.replace(v, key=v.place) for k, v in inner.items()}, place)
    if isinstance(value, list | tuple):
        return Item([from_python(v, f"{path}[{i}]") for i, v in enumerate(value)], place)
    return Item(value, place, value if isinstance(value, str) else None)


def compose(text: str, source: str, fault: Fault) -> Item:
    """The text's tree of items; nothing is constructed but lists, mappings, numbers and texts."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(source, mark.line + 1, mark.column + 1) if mark else Place(source)
        raise AdvbenchError(f"{place}: {', '.join(p for p in (error.problem, error.context) if p)}") from error
    except yaml.YAMLError as error:
        raise AdvbenchError(f"{source}: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise AdvbenchError(f"{source}: nested too deep") from error
    if node is None:
        raise AdvbenchError(f"{source}: the suite is empty")
    return _Tree(source, fault).item(node)


@dataclass
class _Tree:
    """Turns YAML nodes into items; aliases count each time, so that a few lines can't stand for millions."""

    source: str
    fault: Fault
    nodes: int = 0

    def item(self, node: yaml.Node, key: yaml.Node | None = None, depth: int = 0, flow: bool = False) -> Item:
        self.nodes += 1
        place = self.place(node)
        if self.nodes > _MOST_NODES or depth > _DEEPEST:
            raise AdvbenchError(f"{place}: too large or nested too deep; do aliases (*name) repeat themselves?")
        if node.tag.removeprefix("tag:yaml.org,2002:") not in _TAGS:
            self.fault(place, f"the tag {node.tag!r} is not understood; a suite is plain data")
        where = self.place(key) if key else None
        if isinstance(node, yaml.MappingNode):
            return Item(self.mapping(node, depth), place, key=where)
        if isinstance(node, yaml.SequenceNode):
            inner = [self.item(child, depth=depth + 1, flow=bool(node.flow_style)) for child in node.value]
            return Item(inner, place, key=where)
        text = str(node.value)
        if isinstance(node, yaml.ScalarNode) and node.style is None:
            # the numbers of `name(parameter=value)`, not those of YAML 1.1, where 8e-3 is a text and 1:30 is 90
            value = None if text in ("", "~") else parse_value(text)
            return Item(value, place, text, where, 0, flow)
        return Item(text, place, text, where, 1, flow)

    def mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Item]:
        items: dict[str, Item] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.fault(self.place(key), "a key must be a name")
                continue
            if key.value in items:
                first = items[key.value].key
                line = f" (first in line {first.line})" if first else ""
                self.fault(self.place(key), f"duplicate key {key.value!r}{line}")
                continue
            items[key.value] = self.item(value, key, depth + 1, bool(node.flow_style))
        return items

    def place(self, node: yaml.Node) -> Place:
        return Place(self.source, node.start_mark.line + 1, node.start_mark.column + 1)
