"""What is shown of a run while it goes on."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from advbench.cli import progress
from advbench.cli.progress import Display


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Every line, at once, where nobody watches a terminal."""
    monkeypatch.setattr(progress, "_QUIET", -1.0)
    return io.StringIO()


def test_trainings_beside_each_other_are_named_each_with_its_share(shown: io.StringIO) -> None:
    with Display(Console(file=shown, width=120)) as display:
        display.preparing("", 0, 2)
        display.training("small", 0.1, "first epoch")
        display.training("la\x1b[31mrge", 0.25, "first epoch")
        display.training("small", 0.5, "epoch 1 of 2, loss 0.3")
        display.trained("small")
        display.training("la\x1b[31mrge", 0.75, "epoch 3 of 4, loss 0.2")
    assert shown.getvalue().splitlines() == [
        "training small: 10%, first epoch",
        "training small: 10% · large: 25%",
        "training small: 50% · large: 25%",
        "training large: 75%, epoch 3 of 4, loss 0.2",
    ]
