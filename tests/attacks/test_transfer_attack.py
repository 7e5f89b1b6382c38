"""Perturbations of an earlier run, submitted again: the right ones to the right images, and never silently nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from advbench import Access, AdvbenchError, evaluate
from advbench.crafting.cell import check_form
from advbench.errors import PluginError
from advbench.store import Store
from advbench.testing.scene import Scene, scene
from advbench.testing.stage import StageNet, images
from advbench.threats import L2, Corruption, Linf, Threat, Wasserstein
from advbench_attacks.noise import Noise
from advbench_attacks.repeat import Repeat
from advbench_attacks.transfer import Transfer, where

SHAPE = (1, 8, 8)
COUNT = 140
"""More than one shard."""


def evaluated(
    net: StageNet, db: Path | None, attack: object, threat: Threat, **more: object
) -> list[dict[str, object]]:
    """A row per outcome of the attack."""
    x = images(COUNT, SHAPE)
    labels = StageNet(SHAPE)(x).argmax(1)
    found = evaluate(net, images=x, labels=labels, threats=[threat], attacks=[attack], db=db, **more)  # type: ignore[arg-type]
    assert found.failed == (), found.failed
    return found.store.rows("SELECT c.key, o.* FROM outcomes o JOIN cells c ON c.id = o.cell")


def net(seed: int) -> StageNet:
    """The stage's network, its head turned a little."""
    made = StageNet(SHAPE)
    with torch.no_grad():
        made.head.weight += 0.02 * torch.randn(made.head.weight.shape, generator=torch.Generator().manual_seed(seed))
    return made


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A database of four runs, and the key of each one's cell by its ball."""
    db = tmp_path_factory.mktemp("earlier") / "results.sqlite"
    attacks = {
        "linf": "pgd(steps=5)",
        "l2": "pgd(steps=5)",
        "wasserstein": "noise(tries=2)",
        "corruption": "corruptions",
    }
    balls = [Linf(0.1), L2(0.8), Wasserstein(0.4, kernel=3), Corruption()]
    for ball in balls:
        evaluated(StageNet(SHAPE), db, attacks[ball.name], ball)
    with Store.open(db, readonly=True) as store:
        return db, {row["threat"]: row["key"] for row in store.rows("SELECT key, threat FROM cells")}


def perturbations(stored: tuple[Path, dict[str, str]], ball: Threat) -> Tensor:
    """What the database holds for this ball, in the order of the ids."""
    db, keys = stored
    with Store.open(db, readonly=True) as store:
        parts = [store.artifacts.get(row.artifact) for row in store.shards(keys[ball.name]).values()]
        return torch.cat(
            [
                ball.unpack(images(len(t["example"]), SHAPE), {k[2:]: v for k, v in t.items() if k[:2] == "p."})
                for t in parts
            ]
        )


def staged(ball: Threat, ids: list[int]) -> Scene:
    """The same images, by their ids."""
    x = images(COUNT, SHAPE)
    stage = scene(ball, x=x)
    rows = torch.tensor(ids)
    kept = rows.clamp_max(COUNT - 1)
    return Scene(stage.target, x[kept], stage.labels[kept], rows, ball, False)


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.8), Wasserstein(0.4, kernel=3), Corruption()], ids=lambda b: b.name)
def test_every_example_gets_what_was_stored_for_it_and_strangers_get_nothing(
    stored: tuple[Path, dict[str, str]], ball: Threat
) -> None:
    db, keys = stored
    attack = Transfer(file=str(db), cell=keys[ball.name][:10])
    stage = staged(ball, [7, 2, 139, 400])
    problem = stage.problem(attack)
    p = check_form(attack, problem, attack.perturb(problem))
    expected = ball.project(stage.images[:3], perturbations(stored, ball)[[7, 2, 139]])
    assert torch.equal(p[:3], expected)
    assert torch.equal(p[3:], ball.identity(stage.images[3:]))
    assert int(problem.forwards.sum()) == 0


def test_a_smaller_radius_cuts_what_was_stored(stored: tuple[Path, dict[str, str]]) -> None:
    db, keys = stored
    stage = staged(Linf(0.03), [0, 1, 2])
    problem = stage.problem(Transfer())
    p = Transfer(file=str(db), cell=keys["linf"]).perturb(problem)
    assert torch.equal(p, Linf(0.03).project(stage.images, perturbations(stored, Linf(0.1))[:3]))
    assert not any(verdict.violation for verdict in stage.verdicts(p))


def test_another_network_is_fooled_as_often_as_when_the_first_run_had_judged_it(
    stored: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    db, keys = stored
    rows = evaluated(net(1), tmp_path / "later.sqlite", Transfer(file=str(db), cell=keys["linf"]), Linf(0.1))
    stage = staged(Linf(0.1), list(range(COUNT)))
    with torch.no_grad():
        answers = net(1)((stage.images + perturbations(stored, Linf(0.1))).clamp(0, 1)).argmax(1)
        clean = net(1)(stage.images).argmax(1)
    right = [row for row in rows if clean[row["example"]] == stage.labels[row["example"]]]  # type: ignore[index]
    assert len(right) >= COUNT // 2
    assert {row["example"]: row["predicted"] for row in right} == {
        row["example"]: int(answers[row["example"]])  # type: ignore[index]
        for row in right
    }
    assert any(row["reached"] for row in right)


@dataclass(frozen=True)
class Reader(Noise):
    """An attack whose outcome depends on a file, which here is a variable."""

    name = "reader"
    holds: ClassVar[str] = ""

    def content(self) -> str:
        return self.holds


def test_a_file_that_holds_something_else_now_is_another_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = []
    for holds in ("", "one", "other", "one"):
        monkeypatch.setattr(Reader, "holds", holds)
        rows = evaluated(StageNet(SHAPE), tmp_path / "results.sqlite", Reader(), Linf(0.1))
        keys.append({row["key"] for row in rows})
    assert [len(known) for known in keys] == [1, 2, 3, 3]


def test_a_later_run_finds_its_cell_again_as_long_as_the_file_says_the_same(
    stored: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    db, keys = stored
    attack = Transfer(file=str(db), cell=keys["linf"])
    first, again = (
        {row["key"] for row in evaluated(StageNet(SHAPE), tmp_path / "later.sqlite", attack, Linf(0.1))} for _ in "ab"
    )
    assert first == again
    assert attack.content() == Transfer(file=str(db), cell=keys["linf"][:12]).content()
    assert attack.content() != Transfer(file=str(db), cell=keys["l2"]).content()


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({}, r"file=.*cell=.*advbench show --cells"),
        ({"cell": "ab"}, r"file=.*cell="),
        ({"file": "nowhere.sqlite", "cell": "ab"}, r"nowhere.sqlite: no such database"),
        ({"file": "", "cell": "zz"}, r"file=.*cell="),
    ],
)
@pytest.mark.parametrize("kind", [Transfer, Repeat])
def test_a_run_without_a_file_or_a_cell_is_refused_in_one_line(
    kind: type[Transfer], parameters: dict[str, str], said: str
) -> None:
    with pytest.raises(AdvbenchError, match=rf"^[^\n]*{said}[^\n]*$"):
        evaluated(StageNet(SHAPE), None, kind(**parameters), Linf(0.1))


def test_a_key_that_no_cell_has_is_told_with_where_to_look(stored: tuple[Path, dict[str, str]]) -> None:
    with pytest.raises(AdvbenchError, match="no cell's key begins with 'zz'; `advbench show` lists them"):
        Transfer(file=str(stored[0]), cell="zz").content()


def test_perturbations_of_another_ball_or_of_other_images_are_refused_with_a_remedy(
    stored: tuple[Path, dict[str, str]],
) -> None:
    db, keys = stored
    with pytest.raises(PluginError, match=r"holds perturbations of l2, and this ball is linf; name a cell"):
        Transfer(file=str(db), cell=keys["l2"]).perturb(staged(Linf(0.1), [0]).problem(Transfer()))
    for ball in (Linf(0.1), Wasserstein(0.4, kernel=3)):
        small = scene(ball, shape=(1, 5, 5), count=2).problem(Transfer())
        with pytest.raises(PluginError, match=r"images like these .*; name a cell of this data set"):
            Transfer(file=str(db), cell=keys[ball.name]).perturb(small)
    same = staged(Linf(0.1), [3, 0])
    stranger = replace(same, labels=torch.stack((same.labels[0], (same.labels[1] + 1) % 10)))
    with pytest.raises(PluginError, match=r"about other images \(example 0 has another label there\)"):
        Transfer(file=str(db), cell=keys["linf"]).perturb(stranger.problem(Transfer()))


def test_nothing_may_be_asked() -> None:
    assert Transfer.needs == Repeat.needs == Access.NOTHING
    problem = scene(Linf(0.1)).problem(Transfer())
    assert torch.equal(Transfer().perturb(problem), problem.start())


def test_ids_are_found_wherever_they_stand() -> None:
    place, known = where(torch.tensor([5, 9, 1, 100]), torch.tensor([9, 1, 7, 5]))
    assert known.tolist() == [True, True, True, False]
    assert place[:3].tolist() == [3, 0, 1]


# Repeat


def repeated(
    stored: tuple[Path, dict[str, str]], ball: Threat, ids: list[int], **parameters: object
) -> tuple[Tensor, Scene]:
    db, keys = stored
    attack = Repeat(file=str(db), cell=keys[ball.name], **parameters)  # type: ignore[arg-type]
    stage = staged(ball, ids)
    return attack.perturb(stage.problem(attack)), stage


def test_noise_on_top_is_uniform_from_0_to_so_many_times_the_perturbation(stored: tuple[Path, dict[str, str]]) -> None:
    wide = Linf(0.8)
    p, stage = repeated(stored, wide, [0, 1, 2, 3], under="noise")
    bare = perturbations(stored, Linf(0.1))[:4]
    free = (stage.images + p > 0) & (stage.images + p < 1)
    largest = bare.flatten(1).abs().amax(1).view(-1, 1, 1, 1)
    top = ((p - bare) / largest)[free]
    assert top.min() >= -1e-4
    assert top.max() <= 7.001
    assert top.max() > 5
    alone, _ = repeated(stored, wide, [0, 1, 2, 3], under="noise-alone")
    inside = free & (stage.images + alone < 1)
    torch.testing.assert_close((p - alone)[inside], bare[inside], atol=1e-6, rtol=0)
    none, _ = repeated(stored, Linf(0.1), [0, 1, 2, 3], under="noise", noise=0)
    assert torch.equal(none, bare)


def test_a_flipped_image_is_judged_in_the_mirror(stored: tuple[Path, dict[str, str]]) -> None:
    p, stage = repeated(stored, Linf(0.1), [0, 5], under="flip")
    bare = perturbations(stored, Linf(0.1))[[0, 5]]
    mirrored = (stage.images.flip(-1) + bare).clamp(0, 1).flip(-1)
    torch.testing.assert_close(stage.images + p, mirrored)


def test_another_image_gets_a_perturbation_that_was_not_made_for_it(stored: tuple[Path, dict[str, str]]) -> None:
    p, stage = repeated(stored, Linf(0.1), list(range(9)), under="image")
    bare = perturbations(stored, Linf(0.1))
    for row in range(9):
        meant = [Linf(0.1).project(stage.images[[row]], bare[[k]]) for k in range(COUNT) if k != row]
        assert any(torch.equal(p[[row]], other) for other in meant)
    stranger, _ = repeated(stored, Linf(0.1), [777], under="image")
    assert stranger.abs().max() > 0
