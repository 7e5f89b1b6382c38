"""What shows only on a GPU, tried where there is none: tensors made on the wrong device, and waits in every step."""

from __future__ import annotations

import traceback
from collections import Counter
from types import TracebackType

import torch

from advbench.crafting.cell import check_form, perturbed
from advbench.pace import as_on_an_accelerator
from advbench.plugin import Attack
from advbench.problem.buckets import EVERY
from advbench.problem.successes import Answers
from advbench.testing.check import NotTriedError, demand
from advbench.testing.kernels import by_pass
from advbench.testing.scene import FORM, scene
from advbench.threats import Threat

FEW = 3
"""Images: what is looked for shows on any."""
SAID = 2
"""Places that are named."""


def makes_tensors_where_the_data_lie(attack: Attack, threat: Threat) -> None:
    """Under a default device that holds no numbers: whatever is made without `device=` fails as it meets the data."""
    stage = scene(threat, count=FEW)
    problem = stage.problem(attack)
    try:
        with torch.device("meta"):
            returned = problem.start() if problem.done else perturbed(attack, problem)
            p = problem.finish(check_form(attack, problem, returned)).detach()
            stage.verdicts(p)
    except Exception as error:
        if "meta" not in str(error):  # whatever it is, the check of what is due tells it better
            raise NotTriedError(f"see {FORM}") from error
        demand(False, f"makes a tensor without `device=`, which fails on a GPU: {_where(error.__traceback__)}")


def hardly_waits(attack: Attack, threat: Threat) -> str | None:
    """How often the host waits for a device in one pass, as a remark: who writes for a CPU need not care."""
    stage = scene(threat, count=FEW)

    def run(answers: Answers) -> None:
        with as_on_an_accelerator():
            problem = stage.problem(attack, target=answers)
            if not problem.done:
                perturbed(attack, problem)

    try:
        passes = by_pass(stage.target, run)
    except Exception as error:
        raise NotTriedError(f"see {FORM}") from error
    places: Counter[str] = sum((one.places for one in passes), Counter())
    if places.total() * EVERY <= len(passes) + EVERY:
        return None
    named = ", ".join(place for place, _ in places.most_common(SAID))
    return (
        f"on a GPU the host would wait {places.total()} times in {len(passes)} passes ({named}); "
        "ask `may_wait` before a look, or leave by `problem.staying`"
    )


def _where(trace: TracebackType | None) -> str:
    """The innermost line outside of torch."""
    frames = [frame for frame in traceback.extract_tb(trace) if "/torch/" not in frame.filename.replace("\\", "/")]
    if not frames:
        return "somewhere inside torch"
    path = frames[-1].filename.replace("\\", "/").rpartition("/")[2]
    return f"{path}, line {frames[-1].lineno}: {frames[-1].line}"
