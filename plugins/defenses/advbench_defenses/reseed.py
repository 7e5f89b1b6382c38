"""The same recipe from another seed: a second network of the same kind, which has seen nothing of the first.

That is the substitute of the black-box attacks of Qin et al. (2020, arXiv:1907.02957): attacks are made on it, and
judged on the network that they have never seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from advbench import Defense, Recipe, at_least


@dataclass(frozen=True)
class Reseed(Defense):
    """Trains as ever, but from another seed: other first weights, another order, other draws of other defenses."""

    name = "reseed"
    reference = "Qin et al., 2020, arXiv:1907.02957"
    trains = True

    seed: int = at_least(0, default=1)  # in place of the recipe's, which is 0 in all that ship

    def training_recipe(self, recipe: Recipe) -> Recipe:
        return replace(recipe, seed=self.seed)
