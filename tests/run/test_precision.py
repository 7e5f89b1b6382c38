"""`precision: bf16` from a suite to a page: in the key where it is set, done again as it was, and judged in float32."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from agreement import alike, wanted
from agreement import evaluate as run_by
from torch import Tensor, nn

from advbench import evaluate
from advbench.engines.processes import Processes
from advbench.engines.serial import Serial
from advbench.errors import AdvbenchError
from advbench.run.keys import cell_key
from advbench.store import Store, content

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Advbench

SUITE = """\
data: toy-blots
examples: 9
shard: 5
models: toy
attacks: [fgsm, pgd(steps=3), ddn(steps=10), universal-pgd(epochs=1)]
threats: [linf(eps=0.2), {l2: {eps: 1, attacks: [ddn(steps=10)]}}]
precision: bf16
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Hasty(nn.Module):
    """Two classes told apart by the brightness of the image, and by nothing at all in lower precision."""

    def forward(self, images: Tensor) -> Tensor:
        lead = images.flatten(1).mean(1) - (0.0 if torch.is_autocast_enabled("cpu") else 0.5)
        return 100 * torch.stack((-lead, lead), 1)


def test_what_only_bf16_sees_is_a_success_nowhere() -> None:
    """An attack that believed it would be done with the first pass of each image, with nothing."""
    images = torch.full((6, 1, 4, 4), 0.3)
    labels = torch.zeros(6, dtype=torch.int64)
    settings: dict[str, Any] = {"threats": "linf(eps=0.1)", "attacks": ["pgd(steps=6)"]}
    found = evaluate(Hasty(), images, labels, precision="bf16", **settings)
    assert list(found.robust_accuracy.values()) == [1.0]
    (cell,) = found.store.cells()
    forwards = sum(shard.forwards for shard in found.store.shards(cell.key).values())
    assert forwards == 6 * 6 * 2, "every image is asked about to the end, and each time float32 contradicts"
    wider = evaluate(Hasty(), images, labels, precision="bf16", **(settings | {"threats": "linf(eps=0.3)"}))
    assert list(wider.robust_accuracy.values()) == [0.0]


def test_a_key_takes_in_a_lower_precision_alone() -> None:
    with Store.memory() as one, Store.memory() as other, Store.memory() as third:
        for store, changes in ((one, {}), (other, {"precision": "float32"}), (third, {"precision": "bf16"})):
            run_by(store, wanted(**changes), Serial())
        assert content(one) == content(other)
        assert {row.precision for row in one.cells()} == {None}
        assert {row.precision for row in third.cells()} == {"bf16"}
        assert not {row.key for row in one.cells()} & {row.key for row in third.cells()}
        assert {cell_key(replace(row, precision=None)) for row in third.cells()} == {row.key for row in one.cells()}


@pytest.mark.parametrize("engine", [Processes(2)], ids=["two"])
def test_several_processes_make_the_same_of_it(engine: Any) -> None:
    serial, _ = alike(wanted(precision="bf16"), engine)
    assert serial.done == 12


def test_every_command_tells_it_and_does_it_again(advbench: Advbench, tmp_path: Path) -> None:
    (tmp_path / "low.yaml").write_text(SUITE)
    assert "Attacks ask in bf16" in advbench("plan", "low.yaml").out
    done = advbench("run", "low.yaml", "--jobs", "2")
    assert done.code == 0, done.out + done.err
    assert "pgd(steps=3) · precision=bf16" in re.sub(r"\s+", " ", done.out)
    with Store.open("results.sqlite") as store:
        keys = {row.attack: row.key for row in store.cells()}
        required = [name for board in store.boards() for name in board.required]
        assert all(name.endswith(" · precision=bf16") for name in required)
    assert len(keys) == 4
    assert re.search(r"attack passes in +bf16", advbench("show", keys["pgd(steps=3)"]).out)
    assert advbench("verify").code == 0
    again = advbench("reproduce", *keys.values())
    assert again.code == 0, again.out
    assert again.out.count("every verdict is the same") == len(keys)
    assert "other versions" not in again.out, "the keys are the same"
    page = tmp_path / "results-site" / "cells"
    assert any("<code>bf16</code>" in one.read_text(encoding="utf-8") for one in page.glob("*.html"))
    merged = advbench("merge", "all.sqlite", "results.sqlite")
    assert merged.code == 0, merged.out + merged.err


def test_the_option_stands_in_for_the_suite_s_own(advbench: Advbench, tmp_path: Path) -> None:
    (tmp_path / "low.yaml").write_text(SUITE)
    assert "bf16" not in advbench("plan", "low.yaml", "--precision", "float32").out
    (tmp_path / "plain.yaml").write_text(SUITE.replace("precision: bf16\n", ""))
    assert "bf16" not in advbench("plan", "plain.yaml").out
    assert "Attacks ask in bf16" in advbench("plan", "plain.yaml", "--precision", "bf16").out
    assert advbench("run", "plain.yaml", "--precision", "bf16", "--attack", "fgsm").code == 0
    assert advbench("run", "low.yaml", "--attack", "fgsm").out.count("0 cells crafted") == 1


@pytest.mark.parametrize("value", ["fp8", "16", "float16", "''"])
def test_another_precision_is_refused_with_those_that_there_are(advbench: Advbench, tmp_path: Path, value: str) -> None:
    (tmp_path / "bad.yaml").write_text(SUITE.replace("bf16", value))
    assert "bad.yaml:7:12: precision: expected one of float32, bf16" in advbench("run", "bad.yaml").complaint
    with pytest.raises(AdvbenchError, match="precision: expected one of float32, bf16"):
        evaluate("toy", dataset="toy-blots", threats="linf(eps=0.1)", attacks="fgsm", precision="fp8")


def test_an_option_of_another_precision_is_refused_in_one_line(advbench: Advbench, tmp_path: Path) -> None:
    (tmp_path / "low.yaml").write_text(SUITE)
    for command in ("run", "plan"):
        assert (
            "--precision: expected one of float32, bf16"
            in advbench(command, "low.yaml", "--precision", "fp8").complaint
        )


def test_a_budget_of_one_pass_leaves_nothing_to_confirm_with(advbench: Advbench, tmp_path: Path) -> None:
    (tmp_path / "poor.yaml").write_text(f"{SUITE}budget: 1\n")
    assert "poor.yaml:8:9: budget: must be at least 2 with precision bf16" in advbench("plan", "poor.yaml").complaint
