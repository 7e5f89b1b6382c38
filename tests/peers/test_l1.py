"""Attacks in l1 beside another library's, on the same weights and digits."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

import pytest
import torch

from advbench import DataFolders
from advbench.plugins import data_intake
from advbench.plugins.discovery import discover
from advbench.run.boards import judged_examples
from advbench.run.ready import Ready, Workshop
from advbench.target.identity import TargetPlan
from advbench.testing.scene import Scene

SOURCE = Path(__file__).parents[2] / "plugins/threats"
EPS, DIGITS, SLACK = 8.0, 100, 0.03


def reference(defense: str) -> Ready:
    """The network as it ships, and the first digits that a board would judge."""
    registry = discover()
    dataset = registry.dataset("mnist-5k")
    data = data_intake.load(dataset, DataFolders())
    plan = TargetPlan(dataset, registry.model("small-cnn"), registry.defense(defense))
    workshop = Workshop(registry, torch.device("cpu"), false_positive_rate=None)
    return workshop.ready(plan, data, judged_examples(data, DIGITS, dataset))[0]


@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("defense", ["none", "adversarial-training"])
def test_two_attacks_reach_what_all_four_of_autoattack_do(defense: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not importlib.util.find_spec("pyautoattack"):
        pytest.skip('pyautoattack is not installed: pip install "advbench[peers-autoattack]"')
    monkeypatch.syspath_prepend(str(SOURCE))
    threats, autoattack = importlib.import_module("advbench_threats"), importlib.import_module("pyautoattack")
    ready = reference(defense)
    examples, net = ready.examples, ready.target.net
    x = examples.images.float() / 255 if examples.images.dtype == torch.uint8 else examples.images

    theirs = autoattack.AutoAttack(net, norm="L1", eps=EPS, seed=0)
    theirs.verbose = False
    found, _ = theirs.run_standard_evaluation(x.clone(), examples.labels.clone(), batch_size=len(x))
    assert (found - x).flatten(1).abs().sum(1).max() <= EPS * (1 + 1e-4)
    with torch.no_grad():
        left = (net(found).argmax(1) == examples.labels).double().mean()

    stage = Scene(ready.target, x, examples.labels, examples.ids, threats.L1(EPS), targeted=False)
    fooled = stage.fooled(threats.L1APGD()) | stage.fooled(threats.L1Square())
    assert (~fooled).double().mean() <= left + SLACK
