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


def test_a_second_suite_is_counted_from_its_own_beginning(shown: io.StringIO) -> None:
    """A study runs several; what the first one did would make the time that is left a negative one."""
    with Display(Console(file=shown, width=120)) as display:
        for _ in range(2):
            display.planned(2, 20)
            display.cell("a")
            display.shard(10, cached=False)
            display.ended("a", "done")
    lines = shown.getvalue().splitlines()
    assert lines[0].startswith("cell 1 of 2")
    assert lines[3].startswith("cell 1 of 2")
    assert not any("-" in line.partition("examples/s")[2] for line in lines)
