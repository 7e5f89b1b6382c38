"""What a paper published, read from a study's YAML: its numbers and its claims."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from advbench.errors import PluginError
from advbench.study import Number, Study

_OF_TABLES = frozenset({"value", "unit"})


class Printed(float):
    """A number that remembers how many decimals it was printed with: 92.0 is known better than 92."""

    decimals = 0


class _Loader(yaml.SafeLoader):
    """YAML as data, with the decimals of its numbers; dates are text, since no page shows them as anything else."""


def _printed(loader: _Loader, node: yaml.ScalarNode) -> Printed:
    value = Printed(loader.construct_yaml_float(node))
    if not math.isfinite(value):
        raise yaml.YAMLError(f"{node.value} on line {node.start_mark.line + 1} is no number that a paper prints")
    digits, _, exponent = node.value.replace("_", "").lower().partition("e")
    value.decimals = len(digits.partition(".")[2]) - int(exponent or 0)
    return value


def _words(loader: _Loader, node: yaml.ScalarNode) -> str:
    return str(node.value)


_Loader.add_constructor("tag:yaml.org,2002:float", _printed)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _words)


@dataclass(frozen=True)
class Claim:
    """What the paper claims, what it shows for it, and how that can be tested."""

    id: str
    claim: str
    evidence: str = ""
    test: str = ""
    agrees: str = ""
    """Whether the paper's own tables agree, in words."""


@dataclass(frozen=True)
class Publication:
    """A paper's numbers in the order of its tables, then its figures; and its claims."""

    paper: Mapping[str, Any]
    captions: Mapping[str, str]
    """Of tables and figures, by their names."""
    notes: Mapping[str, str]
    numbers: tuple[Number, ...]
    claims: tuple[Claim, ...]

    @property
    def places(self) -> tuple[str, ...]:
        """Names of all tables and figures, those without numbers among them."""
        return tuple(self.captions)


def publication(study: Study) -> Publication:
    """The study's paper; a PluginError says what its YAML lacks."""
    try:
        content = _plain(yaml.load(study.published, _Loader))  # which is a SafeLoader
        tables, figures = content.get("tables") or [], content.get("figures") or []
        numbers = [number for table in tables for number in _of_table(table)]
        numbers += [number for figure in figures for number in _of_figure(figure)]
        captions = {str(one["id"]): str(one.get("caption") or "") for one in tables}
        for one in figures:  # a figure may also be a table
            captions.setdefault(str(one["id"]), str(one.get("shows") or ""))
        return Publication(
            paper=dict(content["paper"]),
            captions=captions,
            notes={str(one["id"]): str(one["note"]) for one in [*tables, *figures] if one.get("note")},
            numbers=tuple(numbers),
            claims=tuple(
                Claim(
                    str(one["id"]),
                    str(one["claim"]),
                    str(one.get("evidence") or ""),
                    str(one.get("test") or ""),
                    str(one.get("agrees_with_own_tables") or ""),
                )
                for one in content.get("claims") or []
            ),
        )
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise PluginError(
            f"{study.name}: its published numbers can't be read ({type(error).__name__}: {error}); "
            "docs/studies.md says what the YAML holds"
        ) from error


def _of_table(table: Mapping[str, Any]) -> Iterator[Number]:
    return _numbers(table, table.get("rows") or [])


def _of_figure(figure: Mapping[str, Any]) -> Iterator[Number]:
    return _numbers(figure, figure.get("numbers") or [])


def _numbers(place: Mapping[str, Any], rows: list[Mapping[str, Any]]) -> Iterator[Number]:
    for position, row in enumerate(rows):
        columns = {key: value for key, value in row.items() if key not in _OF_TABLES}
        unit, value = str(row.get("unit") or place.get("unit") or ""), row["value"]
        counted = isinstance(value, int | float) and not isinstance(value, bool)
        yield Number(
            str(place["id"]),
            position,
            columns,
            float(value) if counted else str(value),
            unit,
            getattr(value, "decimals", 0),
        )


def _plain(value: Any) -> Any:
    """What JSON can hold; a ValueError says what cannot."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise ValueError(f"it holds {value!r}, a {type(value).__name__}")
