"""What a paper published, read from a study's YAML: its numbers and its claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from advbench.errors import PluginError
from advbench.study import Number, Study

_OF_TABLES = frozenset({"value", "unit"})


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
        content = yaml.safe_load(study.published)
        tables, figures = content.get("tables") or [], content.get("figures") or []
        numbers = [number for table in tables for number in _of_table(table)]
        numbers += [number for figure in figures for number in _of_figure(figure)]
        captions = {str(one["id"]): str(one.get("caption") or "") for one in tables}
        for one in figures:  # a figure may also be a table
            captions.setdefault(str(one["id"]), str(one.get("shows") or ""))
        return Publication(
            paper=content["paper"],
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
    except (OSError, yaml.YAMLError, LookupError, TypeError, AttributeError) as error:
        raise PluginError(
            f"{study.name}: its published numbers can't be read ({type(error).__name__}: {error}); "
            "docs/studies.md says what the YAML holds"
        ) from error


def _of_table(table: Mapping[str, Any]) -> Iterator[Number]:
    for position, row in enumerate(table.get("rows") or []):
        columns = {key: value for key, value in row.items() if key not in _OF_TABLES}
        yield Number(
            str(table["id"]), position, columns, _plain(row["value"]), str(row.get("unit") or table.get("unit") or "")
        )


def _of_figure(figure: Mapping[str, Any]) -> Iterator[Number]:
    for position, row in enumerate(figure.get("numbers") or []):
        columns = {key: value for key, value in row.items() if key not in _OF_TABLES}
        yield Number(
            str(figure["id"]), position, columns, _plain(row["value"]), str(row.get("unit") or figure.get("unit") or "")
        )


def _plain(value: Any) -> float | str:
    """A number as one; anything else in words."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
