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
    from advbench.errors import NotInstalledError as NotInstalledError
    from advbench.errors import PluginError as PluginError
    from advbench.errors import did_you_mean as did_you_mean
    from advbench.evaluation.evaluation import Evaluation as Evaluation
    from advbench.evaluation.evaluation import evaluate as evaluate
    from advbench.geometry import Geometry as Geometry
    from advbench.goal import Goal as Goal
    from advbench.hooks import hookimpl as hookimpl
    from advbench.layers import activations as activations
    from advbench.layers import feature_layer as feature_layer
    from advbench.layers import recorded as recorded
    from advbench.pace import may_wait as may_wait
    from advbench.parameters import at_least as at_least
    from advbench.parameters import between as between
    from advbench.parameters import one_of as one_of
    from advbench.plugin import Attack as Attack
    from advbench.plugin import Dataset as Dataset
    from advbench.plugin import Defense as Defense
    from advbench.plugin import Model as Model
    from advbench.plugins.values import core_threat as core_threat
    from advbench.problem.bank import Bank as Bank
    from advbench.problem.expected import Expected as Expected
    from advbench.problem.problem import MARGIN as MARGIN
    from advbench.problem.problem import Loss as Loss
    from advbench.problem.problem import Probe as Probe
    from advbench.problem.problem import Problem as Problem
    from advbench.problem.problem import Stop as Stop
    from advbench.problem.set_wide import SharedProblem as SharedProblem
    from advbench.recipe import Recipe as Recipe
    from advbench.run.stored_perturbations import StoredPerturbations as StoredPerturbations
    from advbench.store import Store as Store
    from advbench.threats import L2 as L2
    from advbench.threats import Corruption as Corruption
    from advbench.threats import Linf as Linf
    from advbench.threats import RotateShift as RotateShift
    from advbench.threats import Threat as Threat
    from advbench.threats import Wasserstein as Wasserstein
    from advbench.threats.corruptions.jpeg import compress_jpeg as compress_jpeg
    from advbench.weights.descent import random_shift as random_shift

_HOMES = {
    "Access": "access",
    "AdvbenchError": "errors",
    "Attack": "plugin",
    "Bank": "problem.bank",
    "Corruption": "threats",
    "Data": "data",
    "DataFolders": "data",
    "Dataset": "plugin",
    "Defense": "plugin",
    "Draws": "draws",
    "Evaluation": "evaluation.evaluation",
    "Examples": "data",
    "Expected": "problem.expected",
    "Geometry": "geometry",
    "Goal": "goal",
    "L2": "threats",
    "Linf": "threats",
    "Loss": "problem.problem",
    "MARGIN": "problem.problem",
    "Model": "plugin",
    "NotInstalledError": "errors",
    "PluginError": "errors",
    "Probe": "problem.problem",
    "Problem": "problem.problem",
    "Recipe": "recipe",
    "RotateShift": "threats",
    "SharedProblem": "problem.set_wide",
    "Stop": "problem.problem",
    "Store": "store",
    "StoredPerturbations": "run.stored_perturbations",
    "Threat": "threats",
    "Wasserstein": "threats",
    "activations": "layers",
    "at_least": "parameters",
    "between": "parameters",
    "compress_jpeg": "threats.corruptions.jpeg",
    "core_threat": "plugins.values",
    "did_you_mean": "errors",
    "evaluate": "evaluation.evaluation",
    "feature_layer": "layers",
    "hookimpl": "hooks",
    "may_wait": "pace",
    "one_of": "parameters",
    "random_shift": "weights.descent",
    "recorded": "layers",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Names are loaded when they are asked for: reading a database or writing pages needs no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'advbench' has no attribute {name!r}")
    return getattr(importlib.import_module(f"advbench.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
