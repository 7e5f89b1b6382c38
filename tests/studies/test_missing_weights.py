"""What a study names and this machine has not ends in words, and the rest of the study goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from advbench import (
    Absent,
    Analysis,
    Bound,
    DataFolders,
    Dataset,
    Findings,
    Inputs,
    Judged,
    Level,
    Material,
    Model,
    NotInstalledError,
    Number,
    Rates,
    Section,
    Store,
    Study,
    Wanted,
)
from advbench.engines.choice import choose_engine
from advbench.plugins.discovery import discover
from advbench.rates.studies import standing
from advbench.run.report import Reporter
from advbench.run.session import Settings
from advbench.studies.performance import outline, perform_study

PUBLISHED = """
paper: {title: On what is not here, year: 2020, key: gone}
tables:
- id: Table 1
  rows: [{network: lost, value: 1}, {network: packaged, value: 2}, {network: asked, value: 3}]
"""
LOST = "small-cnn(weights=nowhere/lost.safetensors)"


@dataclass(frozen=True)
class Packaged(Model):
    """One whose weights come with a package that is not installed."""

    name = "packaged"

    def build(self, dataset: Dataset) -> nn.Module:
        raise NotInstalledError("packaged: its weights are not installed; pip install packaged")

    def recipe(self, dataset: Dataset) -> None:
        return None


@dataclass(frozen=True)
class Asking(Analysis):
    """Asks the network that is lost."""

    name = "asking"

    @property
    def inputs(self) -> Inputs:
        return Inputs(targets=(Wanted("mnist-5k", LOST),))

    def find(self, material: Material) -> Findings:
        raise AssertionError("it has nobody to ask")


@dataclass(frozen=True)
class Gone(Study):
    """A study of networks that nobody has."""

    name = "gone"
    reference = "https://example.org/gone"

    @property
    def published(self) -> str:
        return PUBLISHED

    def abstract(self) -> str:
        return "They are gone."

    def suites(self, level: Level) -> tuple[Mapping[str, Any], ...]:
        common = {"data": "mnist-5k", "attacks": ["fgsm"], "threats": ["linf(eps=0.1)"], "examples": 2}
        return ({"name": "lost", "models": [LOST], **common}, {"name": "packaged", "models": ["packaged"], **common})

    def analyses(self, level: Level) -> tuple[Analysis, ...]:
        return (Rates(suite="lost"), Rates(suite="packaged"), Asking())

    def binding(self, number: Number, level: Level) -> Bound | Absent:
        asked: Analysis = Asking() if number.position == 2 else Rates(suite=number.columns["network"])
        return Bound(asked, "anything")

    def judges(self, level: Level) -> Mapping[str, Judged]:
        return {}

    def sections(self, level: Level) -> tuple[Section, ...]:
        return ()


def test_weights_and_packages_that_are_not_here_are_reasons_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADVBENCH_DATA", str(tmp_path))
    registry = discover()
    registry.models["packaged"] = Packaged()
    settings = Settings(
        device=torch.device("cpu"), folders=DataFolders.default(), engine=choose_engine("1", torch.device("cpu"), 1)
    )
    with Store.open(tmp_path / "gone.sqlite") as store:
        ended = perform_study(outline(Gone(), "smoke", registry), store, registry, lambda plan: settings, Reporter())
        (stands,) = standing(store)
    reasons = [one.published.absent or "" for one in stands.numbers]
    assert "nowhere/lost.safetensors is in no data folder" in reasons[0]
    assert "pip install packaged" in reasons[1]
    assert "nowhere/lost.safetensors is in no data folder" in reasons[2]
    assert [who for who, _ in ended.failed] == ["suite lost", "suite packaged"]
