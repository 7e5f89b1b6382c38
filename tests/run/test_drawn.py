"""Examples drawn at random: which they are follows from the seed alone, and nothing assumes that they are the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from blobs import Blobs, registry, suite

from advbench import DataFolders, Examples
from advbench import evaluate as evaluate_model
from advbench.engines.processes import Processes
from advbench.errors import AdvbenchError
from advbench.plugins.registry import Registry
from advbench.run.boards import draw
from advbench.run.part import Part
from advbench.run.report import Summary
from advbench.run.run import run
from advbench.run.session import Settings
from advbench.store import Store, content
from advbench.store.rows import CleanRow, OutcomeRow
from advbench.suite.suite import Suite, suite_from_mapping
from advbench_defenses.gaussian_noise import GaussianNoise

DATA = Blobs().load(DataFolders())
IDS = DATA.judge.ids.tolist()
TWO = ["linf(eps=0.2)", {"rotate-shift": {"drawn": 5, "examples": 8}}]
"""Boards of one data set on different draws."""


def evaluate(store: Store, wanted: Suite, found: Registry | None = None, **settings: Any) -> Summary:
    return run(wanted, store, found or registry(), replace(Settings(), **settings))


def drawn(**changes: Any) -> Suite:
    return suite(**{"examples": 10, "drawn": 3, "threats": TWO, **changes})


def judged(store: Store, ball: str) -> list[int]:
    """The ids of the examples of the board in this ball, in the order of judging."""
    (board,) = (one for one in store.boards() if one.threat == ball)
    return store.examples(board.examples)


@pytest.fixture
def memory() -> Iterator[Store]:
    with Store.memory() as store:
        yield store


def of(ids: list[int], count: int, seed: int) -> list[int]:
    labels = torch.zeros(len(ids), dtype=torch.int64)
    examples = Examples(torch.zeros(len(ids), 1, 1, 1), labels, torch.tensor(ids))
    chosen: list[int] = draw(examples, count, seed).ids.tolist()
    return chosen


def test_the_rule_by_which_examples_are_drawn_is_never_changed() -> None:
    """Two versions must judge the same ones."""
    assert of(list(range(20)), 5, 0) == [5, 7, 17, 18, 19]
    assert of(list(range(20)), 5, 2**63 - 1) == [2, 4, 7, 17, 18]
    assert of([-(2**63), -1, 7, 2**63 - 1], 2, 0) == [-9223372036854775808, 7]


def test_a_draw_follows_from_seed_and_ids_alone() -> None:
    ids = list(range(1000))
    whole = of(ids, 300, 4)
    assert len(set(whole)) == 300, "without replacement"
    assert set(of(ids, 50, 4)) < set(whole), "fewer are among more"
    assert set(of(ids[::-1], 300, 4)) == set(whole), "in whatever order they lie"
    assert whole == sorted(whole)
    assert of(ids[::-1], 300, 4) == sorted(whole, reverse=True), "judged in the order of the data set"
    assert 60 <= len(set(whole) & set(of(ids, 300, 5))) <= 120, "another seed draws others: 90 of them alike by chance"
    assert of(ids, 1000, 4) == ids


def test_every_example_is_drawn_equally_often() -> None:
    often = Counter(one for seed in range(2000) for one in of(list(range(40)), 10, seed))
    assert set(often) == set(range(40))
    assert 400 <= min(often.values()) <= max(often.values()) <= 600, "500 each, with a deviation of 19"


def test_without_it_the_first_are_judged_and_nothing_is_said_of_them(memory: Store) -> None:
    evaluate(memory, suite(examples=10, threats=["linf(eps=0.2)"]))
    assert memory.draws() == {}
    assert judged(memory, "linf") == IDS[:10]
    (cell, *_) = memory.cells()
    assert cell.examples == DATA.judge[:10].fingerprint
    assert "drawn" not in str(memory.rows("SELECT settings FROM runs"))


def test_a_draw_of_all_is_all(memory: Store) -> None:
    evaluate(memory, suite(threats=["linf(eps=0.2)"]))
    with Store.memory() as other:
        evaluate(other, suite(threats=["linf(eps=0.2)"], examples=len(IDS), drawn=3))
        assert content(other) == content(memory)


def test_boards_of_one_data_set_judge_different_draws(memory: Store) -> None:
    assert evaluate(memory, drawn()).failed == []
    linf, turned = judged(memory, "linf"), judged(memory, "rotate-shift")
    assert linf == draw(DATA.judge, 10, 3).ids.tolist()
    assert turned == draw(DATA.judge, 8, 5).ids.tolist()
    assert set(linf) - set(turned)
    assert set(turned) - set(linf)
    assert linf != IDS[:10]
    assert {memory.draws()[board.examples] for board in memory.boards()} == {3, 5}
    for target in memory.targets():
        assert set(memory.clean(target.key)) == {*linf, *turned}
    for board in memory.boards():
        ids = judged(memory, board.threat)
        own = [cell for cell in memory.cells() if cell.examples == board.examples]
        assert len(own) == 6
        for cell in own:
            assert memory.cell_status(cell.key) == "done"
            for target in memory.targets():
                assert {row.example for row in memory.outcomes(cell.key, target.key)} == set(ids)
            assert {row.example for row in memory.exhibits(cell.key)} == set(ids[:8])
        for view in ("clean_accuracy", "robust_accuracy", "attack_accuracy", "transfer"):
            assert {row["n"] for row in memory.rates(view) if row["board"] == board.key} == {len(ids)}, view


@pytest.mark.parametrize("goal", ["untargeted", "least-likely", "random"])
def test_an_example_comes_out_as_it_does_among_all(memory: Store, goal: str) -> None:
    """What an example aims at and starts from is its own, wherever it stands."""
    asked = {"goals": [goal], "attacks": ["pgd(steps=5)"]}
    evaluate(memory, drawn(**asked, threats=["linf(eps=0.4)", {"linf": {"eps": 0.3, "drawn": 5}}]))
    with Store.memory() as whole:
        evaluate(whole, suite(**asked, threats=["linf(eps=0.4)", "linf(eps=0.3)"]))
        same = {(cell.source, cell.eps): cell.key for cell in whole.cells()}
        for cell in memory.cells():
            for target in memory.targets():
                known = {row.example: row for row in whole.outcomes(same[cell.source, cell.eps], target.key)}
                found = memory.outcomes(cell.key, target.key)
                assert found == [known[row.example] for row in found]
                assert len(found) == sum(example in known for example in memory.examples(cell.examples))


def test_whoever_answers_by_chance_draws_for_an_example_as_it_does_among_all(memory: Store) -> None:
    found = registry()
    found.defenses["gaussian-noise"] = GaussianNoise(sigma=0.5)
    asked = {"data": "blobs", "models": ["small"], "defenses": ["gaussian-noise(sigma=0.5)"], "attacks": ["noise"]}
    asked |= {"threats": ["linf(eps=0.2)"]}
    evaluate(memory, suite_from_mapping({**asked, "examples": 7, "drawn": 1}, found), found)
    with Store.memory() as whole:
        evaluate(whole, suite_from_mapping(asked, found), found)
        (target,) = memory.targets()
        assert target.draws > 1
        clean = whole.clean(target.key)
        assert_near(memory.clean(target.key).values(), clean)
        assert set(memory.clean(target.key)) == set(judged(memory, "linf"))
        (ours,), (theirs,) = memory.cells(), whole.cells()
        rows = memory.outcomes(ours.key, target.key)
        assert_near(rows, {row.example: row for row in whole.outcomes(theirs.key, target.key)})
        assert rows


def assert_near(rows: Iterable[CleanRow | OutcomeRow], known: Mapping[int, CleanRow | OutcomeRow]) -> None:
    """The same answers; a mean over draws is rounded otherwise in a vector of another length."""
    for row in rows:
        assert row.predicted == known[row.example].predicted
        assert row.confidence == pytest.approx(known[row.example].confidence, abs=1e-6)


@pytest.mark.parametrize("changes", [{"drawn": 4}, {"drawn": None}, {"examples": 9}])
def test_another_draw_makes_other_cells(memory: Store, changes: dict[str, Any]) -> None:
    evaluate(memory, drawn(threats=TWO[:1]))
    assert evaluate(memory, drawn(threats=TWO[:1], **changes)).kept == 0
    assert len(memory.boards()) == 2


def test_a_run_that_was_interrupted_goes_on_with_the_same(memory: Store) -> None:
    calls = iter([False] * 5)
    assert evaluate(memory, drawn(), interrupted=lambda: next(calls, True)).interrupted
    assert evaluate(memory, drawn()).done > 0
    assert evaluate(memory, drawn()).done == 0
    with Store.memory() as whole:
        evaluate(whole, drawn())
        assert content(memory) == content(whole)


def test_processes_and_parts_make_the_same(memory: Store) -> None:
    wanted = drawn(attacks=["noise", "fgsm", "for-all"], threats=["linf(eps=0.2)", {"linf": {"eps": 0.3, "drawn": 9}}])
    evaluate(memory, wanted)
    with Store.memory() as several, Store.memory() as pieces:
        evaluate(several, wanted, engine=Processes(2))
        assert content(several) == content(memory)
        for number in (2, 3, 1):
            assert evaluate(pieces, wanted, share=Part(number, 3)).failed == []
        assert content(pieces) == content(memory)


def test_one_perturbation_for_all_may_be_fitted_on_the_drawn(memory: Store) -> None:
    evaluate(memory, drawn(attacks=["for-all"], threats=TWO[:1], fit="judge"))
    seeds = {cell.fit_fingerprint for cell in memory.cells()}
    evaluate(memory, drawn(attacks=["for-all"], threats=TWO[:1], fit="judge", drawn=4))
    assert len(seeds) == 1
    assert len({cell.fit_fingerprint for cell in memory.cells()}) == 2


def test_a_suite_with_draws_reads_back() -> None:
    wanted = drawn(threats=[*TWO, {"linf": {"eps": 0.3, "drawn": None, "examples": 4}}])
    assert [(board.examples, board.drawn) for board in wanted.boards] == [(10, 3), (8, 5), (4, None)]
    assert suite_from_mapping(wanted.settings, registry()) == wanted


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"drawn": -1}, "drawn: must be a seed from 0 to 2^63 - 1, not -1"),
        ({"drawn": 2**63}, "drawn: must be a seed from 0 to 2^63 - 1, not 9223372036854775808"),
        ({"drawn": 1.5}, "drawn: expected a whole number or null, got 1.5"),
        ({"drawn": "yes"}, "drawn: expected a whole number or null, got the text 'yes'"),
        ({"examples": None}, "drawn: needs `examples`, which says how many are drawn"),
        ({"threats": [{"linf": {"eps": 0.2, "examples": None, "drawn": 0}}]}, "needs `examples`"),
    ],
)
def test_what_is_no_draw_is_refused_in_one_line(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(AdvbenchError) as refused:
        drawn(**{"threats": ["linf(eps=0.2)"], **changes})
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_more_than_there_are_can_not_be_drawn(memory: Store) -> None:
    with pytest.raises(AdvbenchError, match="blobs has 18 examples to judge; the suite asks for 19"):
        evaluate(memory, drawn(examples=19))
    assert memory.boards() == []


def test_evaluate_draws_from_images_and_from_a_data_set() -> None:
    net = registry().models["small"].build(Blobs())
    images, labels = DATA.judge.pixels(), DATA.judge.labels
    found = evaluate_model(net, images, labels, threats="linf(eps=0.2)", attacks="fgsm", examples=6, drawn=2)
    (board,) = found.store.boards()
    assert found.store.draws() == {board.examples: 2}
    assert board.count == 6
    assert "6 examples drawn by seed 2" in str(found)
    named = evaluate_model(
        "small", dataset="blobs", threats="linf(eps=0.2)", attacks="fgsm", examples=6, drawn=2, registry=registry()
    )
    assert judged(named.store, "linf") == draw(DATA.judge, 6, 2).ids.tolist()
    with pytest.raises(AdvbenchError, match="needs `examples`"):
        evaluate_model(net, images, labels, threats="linf(eps=0.2)", attacks="fgsm", drawn=2)
