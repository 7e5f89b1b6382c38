"""One table a network: how it is trained on each data set, and what that is known to reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from advbench import Dataset, Recipe

GREY, COLOUR = "grey", "colour"
"""Rows for data sets that have none of their own."""

Row = TypeVar("Row")


def row_of(table: Mapping[str, Row], dataset: Dataset) -> Row:
    """By the data set's name, its variants among it, else by its channels; without a row for colour, the grey one."""
    channels = COLOUR if dataset.shape[0] > 1 and COLOUR in table else GREY
    return table[dataset.name if dataset.name in table else channels]


@dataclass(frozen=True)
class Recipes:
    """`flip` in a recipe is what may be done: only a data set that declares itself `mirrorable` is mirrored."""

    recipes: Mapping[str, Recipe]
    floors: Mapping[str, float] = field(default_factory=dict)
    """By label: of a variant, trained like its data set and judged otherwise, nobody can ask as much."""
    reached: Mapping[str, float] = field(default_factory=dict)
    """By label, the accuracy on the judged part that was measured."""

    def of(self, dataset: Dataset) -> Recipe:
        recipe = row_of(self.recipes, dataset)
        return replace(
            recipe,
            flip=recipe.flip and dataset.mirrorable,
            floor=self.floors.get(dataset.label, 0.0),
            expected=self.reached.get(dataset.label, 0.0),
        )
