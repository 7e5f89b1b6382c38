"""A robustness benchmark for image classifiers that strangers can extend and outsiders can trust."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from advbench.access import Access as Access
    from advbench.data import Data as Data
    from advbench.data import DataFolders as DataFolders
    from advbench.data import Examples as Examples
    from advbench.draws import Draws as Draws
    from advbench.errors import AdvbenchError as AdvbenchError
    from advbench.evaluation.evaluation import Evaluation as Evaluation
    from advbench.evaluation.evaluation import evaluate as evaluate
    from advbench.goal import Goal as Goal
    from advbench.hooks import hookimpl as hookimpl
    from advbench.plugin import Attack as Attack
    from advbench.plugin import Dataset as Dataset
    from advbench.plugin import Defense as Defense
    from advbench.plugin import Model as Model
    from advbench.problem.problem import Problem as Problem
    from advbench.problem.set_wide import SharedProblem as SharedProblem
    from advbench.recipe import Recipe as Recipe

_HOMES = {
    "Access": "access",
    "AdvbenchError": "errors",
    "Attack": "plugin",
    "Data": "data",
    "DataFolders": "data",
    "Dataset": "plugin",
    "Defense": "plugin",
    "Draws": "draws",
    "Evaluation": "evaluation",
    "Examples": "data",
    "Goal": "goal",
    "Model": "plugin",
    "Problem": "problem",
    "Recipe": "recipe",
    "SharedProblem": "shared",
    "evaluate": "evaluation",
    "hookimpl": "hooks",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Names are loaded when they are asked for: reading a database or writing pages needs no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'advbench' has no attribute {name!r}")
    return getattr(importlib.import_module(f"advbench.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
