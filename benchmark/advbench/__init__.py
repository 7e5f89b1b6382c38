"""A robustness benchmark for image classifiers that strangers can extend and outsiders can trust."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from advbench.access import Access as Access
    from advbench.claim_verdict import ClaimVerdict as ClaimVerdict
    from advbench.claim_verdict import above as above
    from advbench.claim_verdict import below as below
    from advbench.claim_verdict import every as every
    from advbench.claim_verdict import less as less
    from advbench.claim_verdict import most as most
    from advbench.claim_verdict import near as near
    from advbench.claim_verdict import opposite as opposite
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
    from advbench.findings import Finding as Finding
    from advbench.findings import Findings as Findings
    from advbench.findings import Picture as Picture
    from advbench.findings import Point as Point
    from advbench.findings import Series as Series
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
    from advbench.problem.lanes import in_lanes as in_lanes
    from advbench.problem.problem import MARGIN as MARGIN
    from advbench.problem.problem import Loss as Loss
    from advbench.problem.problem import Probe as Probe
    from advbench.problem.problem import Problem as Problem
    from advbench.problem.problem import Stop as Stop
    from advbench.problem.set_wide import SharedProblem as SharedProblem
    from advbench.recipe import Recipe as Recipe
    from advbench.run.stored_perturbations import StoredPerturbations as StoredPerturbations
    from advbench.store import Store as Store
    from advbench.studies.estimates import mean as mean
    from advbench.studies.estimates import share as share
    from advbench.studies.material import JudgedCell as JudgedCell
    from advbench.studies.material import Material as Material
    from advbench.studies.material import NotFoundError as NotFoundError
    from advbench.studies.material import Perturbed as Perturbed
    from advbench.studies.rates import Rates as Rates
    from advbench.studies.rates import rate_name as rate_name
    from advbench.study import Absent as Absent
    from advbench.study import Analysis as Analysis
    from advbench.study import Book as Book
    from advbench.study import Bound as Bound
    from advbench.study import Chart as Chart
    from advbench.study import Gallery as Gallery
    from advbench.study import Inputs as Inputs
    from advbench.study import Judge as Judge
    from advbench.study import Judged as Judged
    from advbench.study import Level as Level
    from advbench.study import Missing as Missing
    from advbench.study import Number as Number
    from advbench.study import Ours as Ours
    from advbench.study import Section as Section
    from advbench.study import Shown as Shown
    from advbench.study import Study as Study
    from advbench.study import Table as Table
    from advbench.study import Wanted as Wanted
    from advbench.threats import L2 as L2
    from advbench.threats import Corruption as Corruption
    from advbench.threats import Linf as Linf
    from advbench.threats import RotateShift as RotateShift
    from advbench.threats import Threat as Threat
    from advbench.threats import Wasserstein as Wasserstein
    from advbench.threats.corruptions.jpeg import compress_jpeg as compress_jpeg
    from advbench.weights.descent import random_shift as random_shift

_HOMES = {
    "Absent": "study",
    "Access": "access",
    "AdvbenchError": "errors",
    "Analysis": "study",
    "Attack": "plugin",
    "Bank": "problem.bank",
    "Book": "study",
    "Bound": "study",
    "Chart": "study",
    "ClaimVerdict": "claim_verdict",
    "Corruption": "threats",
    "Data": "data",
    "DataFolders": "data",
    "Dataset": "plugin",
    "Defense": "plugin",
    "Draws": "draws",
    "Evaluation": "evaluation.evaluation",
    "Examples": "data",
    "Expected": "problem.expected",
    "Finding": "findings",
    "Findings": "findings",
    "Gallery": "study",
    "Geometry": "geometry",
    "Goal": "goal",
    "Inputs": "study",
    "Judge": "study",
    "Judged": "study",
    "JudgedCell": "studies.material",
    "L2": "threats",
    "Level": "study",
    "Linf": "threats",
    "Loss": "problem.problem",
    "MARGIN": "problem.problem",
    "Material": "studies.material",
    "Missing": "study",
    "Model": "plugin",
    "NotFoundError": "studies.material",
    "NotInstalledError": "errors",
    "Number": "study",
    "Ours": "study",
    "Perturbed": "studies.material",
    "Picture": "findings",
    "PluginError": "errors",
    "Point": "findings",
    "Probe": "problem.problem",
    "Problem": "problem.problem",
    "Rates": "studies.rates",
    "Recipe": "recipe",
    "RotateShift": "threats",
    "Section": "study",
    "Series": "findings",
    "Shown": "study",
    "SharedProblem": "problem.set_wide",
    "Stop": "problem.problem",
    "Store": "store",
    "StoredPerturbations": "run.stored_perturbations",
    "Study": "study",
    "Table": "study",
    "Threat": "threats",
    "Wanted": "study",
    "Wasserstein": "threats",
    "above": "claim_verdict",
    "activations": "layers",
    "at_least": "parameters",
    "below": "claim_verdict",
    "between": "parameters",
    "compress_jpeg": "threats.corruptions.jpeg",
    "core_threat": "plugins.values",
    "did_you_mean": "errors",
    "evaluate": "evaluation.evaluation",
    "every": "claim_verdict",
    "feature_layer": "layers",
    "hookimpl": "hooks",
    "in_lanes": "problem.lanes",
    "less": "claim_verdict",
    "may_wait": "pace",
    "mean": "studies.estimates",
    "most": "claim_verdict",
    "near": "claim_verdict",
    "one_of": "parameters",
    "opposite": "claim_verdict",
    "random_shift": "weights.descent",
    "rate_name": "studies.rates",
    "recorded": "layers",
    "share": "studies.estimates",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Names are loaded when they are asked for: reading a database or writing pages needs no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'advbench' has no attribute {name!r}")
    return getattr(importlib.import_module(f"advbench.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
