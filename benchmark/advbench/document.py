"""YAML as plain data with a place for every value: what a suite file is read into."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from advbench.errors import AdvbenchError

LARGEST = 1_000_000
"""Bytes of a file, and values after aliases are followed: a suite is a page, not a data set."""
_MOST = 20_000
_KNOWN = {"str", "int", "float", "bool", "null", "map", "seq"}


@dataclass(frozen=True)
class Value:
    """A scalar, a list of values or a dict of them, and where it stands: `quick.yaml:3:5`, `--attack`, `threats[0]`."""

    content: Any
    where: str

    @property
    def plain(self) -> Any:
        """Without the places."""
        if isinstance(self.content, dict):
            return {key: value.plain for key, value in self.content.items()}
        if isinstance(self.content, list):
            return [value.plain for value in self.content]
        return self.content


class _Loader(yaml.SafeLoader):
    """YAML without its surprises: only true and false are truths, 1:30 is no number, 8e-3 is one."""


_Loader.yaml_implicit_resolvers = {}
_NUMERAL = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
for _tag, _pattern, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"null|~|", "n~\0"),
    ("int", r"[-+]?\d+", "-+0123456789"),
    ("float", rf"{_NUMERAL}|[-+]?\.?inf", "-+.0123456789i"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^$"), [""])


def read(text: str, file: str) -> Value:
    """The document in a text; an AdvbenchError says at which line and column it can't be read."""
    if len(text) > LARGEST:
        raise AdvbenchError(f"{file}: too long for a suite ({len(text):,} characters)")
    try:
        node = yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else file
        raise AdvbenchError(f"{place}: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise AdvbenchError(f"{file}: {' '.join(str(error).split())}") from None
    if node is None:
        raise AdvbenchError(f"{file}: the file is empty")
    return _Builder(file).build(node, 0)


class _Builder:
    """Turns nodes into values; counts them, because aliases can multiply without end."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.count = 0

    def build(self, node: yaml.Node, depth: int) -> Value:
        self.count += 1
        where = self.where(node)
        if self.count > _MOST or depth > 50:
            raise AdvbenchError(f"{where}: too many values or too deep; are aliases (`*name`) nested?")
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind not in _KNOWN:
            raise AdvbenchError(f"{where}: tags such as {node.tag!r} have no meaning here")
        if isinstance(node, yaml.MappingNode):
            return Value(self.mapping(node, depth), where)
        if isinstance(node, yaml.SequenceNode):
            return Value([self.build(item, depth + 1) for item in node.value], where)
        return Value(_scalar(kind, str(node.value), where), where)

    def mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise AdvbenchError(f"{self.where(key)}: a key must be a word")
            if key.value in found:
                first = found[key.value].where
                raise AdvbenchError(f"{self.where(key)}: duplicate key {key.value!r} (first at {first})")
            built = self.build(value, depth + 1)
            # a scalar's or an empty value's own place says little: the key's is where people look
            found[key.value] = Value(built.content, self.where(key)) if not isinstance(built.content, dict) else built
        return found

    def where(self, node: yaml.Node) -> str:
        return f"{self.file}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def _scalar(kind: str, text: str, where: str) -> Any:
    try:
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(text.replace(".inf", "inf"))
    except ValueError:
        raise AdvbenchError(f"{where}: {text!r} is no number") from None
    return {"bool": text == "true", "null": None}.get(kind, text)


def placed(content: Any, where: str) -> Value:
    """Python data as values: what a notebook or the command line gives in place of a file."""
    if isinstance(content, Value):
        return content
    if isinstance(content, Mapping):
        return Value({str(key): placed(item, f"{where}{key}") for key, item in content.items()}, where)
    if isinstance(content, list):
        return Value([placed(item, f"{where}[{place}]") for place, item in enumerate(content)], where)
    return Value(content, where)
