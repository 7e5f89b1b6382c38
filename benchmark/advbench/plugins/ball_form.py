"""Balls on their way in: held against the form of their contract before anything is crafted in them."""

from __future__ import annotations

import torch
from torch import Tensor

from advbench.draws import Draws
from advbench.errors import PluginError
from advbench.plugins.foreign import attributed
from advbench.threats import Threat, is_core


def hold(threat: Threat, x: Tensor) -> None:
    """Refuse a stranger's ball in one line where it can't serve images like these."""
    if is_core(threat):
        return
    with attributed(f"{threat.label}: it failed on images of {tuple(x.shape[1:])}"):
        draws = Draws(0, "ball/form", torch.arange(len(x), device=x.device))
        problem = wrong_form(threat, x, threat.start(x, draws))
    if problem:
        raise PluginError(f"{threat.label}: {problem}; `advbench check {threat.name}` tries all of it")


def wrong_form(threat: Threat, x: Tensor, p: Tensor) -> str:
    """What is wrong with the form of what the ball answers to these perturbations; empty where nothing is."""
    due = threat.identity(x)
    if len(due) != len(x):
        return f"`identity` gives {len(due)} perturbations for {len(x)} images; give one for each"
    if problem := _unlike("identity", due, due) or _unlike("start", p, due):
        return problem
    inside = threat.project(x, p)
    if problem := _unlike("project", inside, due):
        return problem
    answers = {"steepest": (threat.steepest(x, p), due), "apply": (threat.apply(x, inside), x)}
    problems = (_unlike(name, given, like) for name, (given, like) in answers.items())
    return next(filter(None, problems), "") or wrong_sizes("size", threat.size(x, inside), len(x))


def wrong_sizes(name: str, sizes: Tensor, count: int) -> str:
    if not isinstance(sizes, Tensor) or sizes.shape != (count,):
        return f"`{name}` gives {_brief(sizes)} for {count} images; give one number for each"
    if not bool((sizes >= 0).all() and sizes.isfinite().all()):  # NaN compares false
        wrong = sizes[~((sizes >= 0) & sizes.isfinite())]
        return f"`{name}` gives {float(wrong[0]):.3g}; a size is finite and at least 0"
    return ""


def _unlike(name: str, given: Tensor, like: Tensor) -> str:
    if not isinstance(given, Tensor) or given.shape != like.shape or given.dtype != like.dtype:
        return f"`{name}` gives {_brief(given)}, where {_brief(like)} is due"
    return "" if bool(given.isfinite().all()) else f"`{name}` gives numbers that are not finite"


def _brief(value: object) -> str:
    return f"{value.dtype} of {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
