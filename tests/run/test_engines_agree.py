"""Whatever performs a run's tasks, its database is the same, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from agreement import alike, evaluate, events, shards_of, wanted

from advbench.engines.crew import Engine
from advbench.engines.processes import ProcessCrew, Processes
from advbench.engines.serial import Serial
from advbench.store import Store, content
from advbench_attacks.fgsm import FGSM

ENGINES = [Processes(1), Processes(2), Processes(2, fresh=True)]
NAMES = ["one", "two", "fresh"]


@pytest.mark.parametrize("engine", ENGINES, ids=NAMES)
def test_cells_of_single_examples(engine: Engine) -> None:
    serial, _ = alike(wanted(), engine)
    assert serial.done == 12


@pytest.mark.parametrize("engine", ENGINES, ids=NAMES)
def test_cells_of_one_perturbation_for_all(engine: Engine) -> None:
    """Fitted once, by whichever process crafts the first shard."""
    serial, _ = alike(wanted(attacks=["for-all", "noise"], threats=["linf(eps=0.2)"]), engine)
    assert (serial.done, serial.failed) == (4, [])


@pytest.mark.parametrize("engine", ENGINES, ids=NAMES)
def test_a_failure_ends_a_cell_at_the_same_place(engine: Engine) -> None:
    asked = wanted(attacks=["raising", "fails-later", "fgsm"], threats=["linf(eps=0.2)"])
    serial, _ = alike(asked, engine)
    assert (serial.done, len(serial.failed)) == (2, 4)


@pytest.mark.parametrize("engine", ENGINES, ids=NAMES)
def test_a_target_that_an_attack_damages_is_whole_for_the_next(engine: Engine) -> None:
    serial, _ = alike(wanted(attacks=["vandal", "fgsm", "noise"], threats=["linf(eps=0.2)"]), engine)
    assert serial.done == 4
    assert all("changed its target" in reason for _, reason in serial.failed)


@pytest.mark.parametrize("engine", ENGINES, ids=NAMES)
def test_a_process_that_dies_fails_its_cell_alone(engine: Engine) -> None:
    with Store.memory() as store:
        summary = evaluate(store, wanted(attacks=["leaves", "fgsm", "noise"], threats=["linf(eps=0.2)"]), engine)
        assert summary.done == 4
        assert [reason for _, reason in summary.failed] == ["its process died (exit code 5)"] * 2


@pytest.mark.parametrize("engine", ENGINES, ids=NAMES)
def test_newcomers_are_judged_on_what_is_stored(engine: Engine) -> None:
    with Store.memory() as one, Store.memory() as other:
        for store, by in ((one, Serial()), (other, engine)):
            assert evaluate(store, wanted(models=["small"]), by).done == 6
            again = evaluate(store, wanted(), by)
            assert (again.done, again.kept) == (6, 6)
        assert content(one) == content(other)


@pytest.mark.parametrize("engine", ENGINES, ids=NAMES)
def test_what_is_interrupted_goes_on_with_any_other(engine: Engine) -> None:
    with Store.memory() as one, Store.memory() as other:
        evaluate(one, wanted(), Serial())
        calls = iter([False] * 6)
        stopped = evaluate(other, wanted(), engine, interrupted=lambda: next(calls, True))
        assert stopped.interrupted
        whole = {key for key, _, _ in events(other)}
        assert whole == {key for key, shards in shards_of(other).items() if shards == 3}  # nothing whole is left unsaid
        assert 0 < len(content(other)["shards"]) < len(content(one)["shards"])
        evaluate(other, wanted(), Serial())
        assert content(one) == content(other)


def test_what_cells_share_is_made_into_bytes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two targets, and the images to fit on: none of them once more for the next cell."""
    shared: list[int] = []
    close = ProcessCrew.close
    monkeypatch.setattr(ProcessCrew, "close", lambda self: (shared.append(len(self._shared)), close(self))[1])
    with Store.memory() as store:
        asked = wanted(attacks=["for-all", "noise", "fgsm"], threats=["linf(eps=0.2)", "linf(eps=0.1)"])
        evaluate(store, asked, Processes(2))
    assert shared == [3]


def lost(folder: Path, engine: Engine, harm: Callable[[Path], None]) -> Store:
    store = Store.open(folder / "results.sqlite")
    evaluate(store, wanted(models=["small"], attacks=["pgd(steps=5)"]), engine)
    for path in sorted((folder / "results.artifacts").rglob("*.safetensors")):
        harm(path)
    evaluate(store, wanted(attacks=["pgd(steps=5)"]), engine)
    return store


@pytest.mark.parametrize("engine", [Serial(), Processes(2)], ids=["serial", "two"])
def test_lost_perturbations_are_crafted_again(engine: Engine, tmp_path: Path) -> None:
    with lost(tmp_path, engine, Path.unlink) as store, Store.memory() as whole:
        evaluate(whole, wanted(attacks=["pgd(steps=5)"]), Serial())
        assert content(store) == content(whole)


@pytest.mark.parametrize("engine", [Serial(), *ENGINES], ids=["serial", *NAMES])
def test_a_pass_of_an_attack_uses_one_thread(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with Store.memory() as store:
            evaluate(store, wanted(models=["small"], attacks=["fgsm"], threats=["linf(eps=0.2)"]), engine)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert FGSM().label == "fgsm"
