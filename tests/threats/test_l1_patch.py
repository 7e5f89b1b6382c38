"""Two balls of a distribution of their own: found, searched and judged like the core's."""

from __future__ import annotations

import importlib
import itertools
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forgetting import forget_sources
from scipy.optimize import minimize
from torch import Tensor

from advbench import Draws, Evaluation, Threat, evaluate
from advbench.plugins.discovery import discover
from advbench.plugins.registry import Registry
from advbench.store import Store
from advbench.testing import checks, run_checks

Called = Callable[..., Any]


def draws(count: int, seed: int = 0) -> Draws:
    return Draws(seed, "test", torch.arange(count))


def test_both_hold_the_contract(registry: Registry) -> None:
    mine = [entrant for one in registry.loaded if one.origin.is_called("advbench-threats") for entrant in one.entrants]
    assert {entrant.name for entrant in mine} == {"l1", "l1-apgd", "l1-square", "patch", "patch-climb"}
    assert [one for one in run_checks(checks(*mine, balls=registry.threats.values())) if not one.ok] == []


@pytest.mark.parametrize("name", ["pgd", "noise"])
def test_attacks_that_never_heard_of_them_hold_the_contract_in_them(registry: Registry, name: str) -> None:
    balls = [ball for ball in registry.threats.values() if ball.name in ("l1", "patch")]
    found = list(run_checks(checks(registry.attack(name), balls=balls)))
    assert {ball.name for ball in balls} == {one.name.split("-")[1] for one in found if one.name.endswith("-repeats")}
    assert [one for one in found if not one.ok] == []


def test_they_are_searched_from_the_day_they_are_installed(registry: Registry) -> None:
    any_ball = {"apgd", "aware", "bim", "fgsm", "mi-fgsm", "noise", "pgd", "random", "repeat", "transfer"}
    for ball, by_name in (("l1", {"l1-apgd", "l1-square"}), ("patch", {"patch-climb"})):
        serve = {attack.name for attack in registry.attacks.values() if attack.searches(registry.threat(ball))}
        assert serve == any_ball | by_name


def slowly_projected(x: np.ndarray[Any, Any], p: np.ndarray[Any, Any], eps: float) -> np.ndarray[Any, Any]:
    """The nearest member as a quadratic program solves it: q = up - down, both from 0 on, adding up to eps at most."""
    count = len(p)

    def distance(parts: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        off = parts[:count] - parts[count:] - p
        return float(off @ off), np.concatenate([2 * off, -2 * off])

    limit = {"type": "ineq", "fun": lambda parts: eps - parts.sum(), "jac": lambda parts: -np.ones(2 * count)}
    bounds = [(0, 1 - one) for one in x] + [(0, one) for one in x]
    settings = {"maxiter": 1000, "ftol": 1e-14}
    start = np.zeros(2 * count)
    found = minimize(distance, start, jac=True, bounds=bounds, constraints=[limit], method="SLSQP", options=settings)
    assert found.status in (0, 8), found.message  # 8: at the end no step is short enough to go further down
    solved: np.ndarray[Any, Any] = found.x[:count] - found.x[count:]
    return solved


@pytest.mark.parametrize("seed", range(12))
def test_l1_projects_to_where_a_slow_exact_solver_does(registry: Registry, seed: int) -> None:
    draw = draws(1, seed)
    x = draw.uniform(1, 3, 4, dtype=torch.float64)
    x[:, :, 0] = (x[:, :, 0] > 0.5).double()  # pixels without room on one side
    p = draw.normal(1, 3, 4, dtype=torch.float64) * (0.3, 1.0, 3.0)[seed % 3]
    eps = (0.2, 1.0, 2.5, 20.0)[seed % 4]
    fast = registry.threat(f"l1(eps={eps})").project(x, p)
    slow = slowly_projected(x.flatten().numpy(), p.flatten().numpy(), eps)
    assert np.abs(fast.flatten().numpy() - slow).max() < 1e-5


def test_a_step_in_l1_is_of_unit_length_and_moves_what_the_radius_can_fill(registry: Registry) -> None:
    ball = registry.threat("l1(eps=6)")
    x = torch.zeros(2, 1, 20, 20)
    x[1] = 0.5  # half the room, twice the numbers
    gradient = draws(2).normal(1, 20, 20).abs()
    gradient[0, 0, :10] *= -100  # a black pixel can't become darker
    step = ball.steepest(x, gradient)
    moved = step.flatten(1) != 0
    assert moved.sum(1).tolist() == [6, 12]
    assert torch.allclose(step.flatten(1).abs().sum(1), torch.ones(2))
    assert (step >= 0).all()
    for row, slopes in zip(moved, torch.where(gradient > 0, gradient, 0).flatten(1), strict=True):
        assert slopes[row].min() > slopes[~row].max()


def nearest_by_trying(x: Tensor, p: Tensor, side: int) -> Tensor:
    """Every place is tried, and every pixel there put as near as the box allows."""
    best, least = torch.zeros_like(p), float((p**2).sum())
    height, width = p.shape[-2:]
    for top, left in itertools.product(range(height - side + 1), range(width - side + 1)):
        window = (..., slice(top, top + side), slice(left, left + side))
        tried = torch.zeros_like(p)
        tried[window] = p[window].clamp(-x[window], 1 - x[window])
        if float(((p - tried) ** 2).sum()) < least:
            best, least = tried, float(((p - tried) ** 2).sum())
    return best


@pytest.mark.parametrize("seed", range(6))
def test_a_patch_goes_to_the_place_that_keeps_most(registry: Registry, seed: int) -> None:
    draw = draws(1, seed)
    x, p = draw.uniform(2, 6, 7, dtype=torch.float64), draw.normal(2, 6, 7, dtype=torch.float64)
    side = 1 + seed % 4
    ball: Threat = registry.threat(f"patch(eps={side}.4)")
    assert torch.allclose(ball.project(x, p), nearest_by_trying(x[0], p[0], side)[None])


def test_an_image_smaller_than_the_square_is_covered(registry: Registry) -> None:
    x = draws(2).uniform(1, 3, 9)
    assert (registry.threat("patch(eps=5)").size(x, registry.threat("patch(eps=5)").project(x, 1 - 2 * x)) == 5).all()
    assert registry.threat("patch(eps=9)").why_not((1, 3, 9)) is None
    assert "the largest radius is 9" in str(registry.threat("patch(eps=10)").why_not((1, 3, 9)))


def accuracies(registry: Registry, threat: str, *attacks: str) -> dict[str, float]:
    found = evaluate("small-cnn", dataset="mnist-5k", threats=threat, attacks=attacks, examples=60, registry=registry)
    assert found.failed == ()
    return {row["entrant"]: row["accuracy"] for row in found.rates}


def test_the_core_s_attacks_are_strong_in_l1(registry: Registry) -> None:
    left = accuracies(registry, "l1(eps=8)", "noise", "pgd", "apgd")
    assert left["noise"] > 0.9
    assert left["pgd"] < 0.5
    assert left["apgd"] < 0.4


def test_a_patch_is_found_by_the_core_s_attacks_and_better_by_one_that_knows_it(registry: Registry) -> None:
    left = accuracies(registry, "patch(eps=5)", "noise", "apgd", "patch-climb")
    assert max(left["apgd"], left["patch-climb"]) < 0.5 < left["noise"]


@pytest.fixture(scope="module")
def stored(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    db = tmp_path_factory.mktemp("stored") / "l1.sqlite"
    run(db, registry)
    return db


def run(db: Path, registry: Registry) -> Evaluation:
    return evaluate(
        "small-cnn",
        dataset="mnist-5k",
        threats=["l1(eps=8)", "linf(eps=0.1)"],
        attacks=["pgd(steps=3)"],
        examples=8,
        registry=registry,
        db=db,
    )


def test_whose_ball_it_is_stands_in_keys_and_on_the_board(
    stored: Path, installed: Path, registry: Registry, advbench: Called, tmp_path: Path
) -> None:
    digest = registry.origin(registry.threat("l1")).digest
    shipper = f"advbench-threats 0.1.0, source {digest[:8]}"
    with Store.open(stored, readonly=True) as store:
        boards = {row.threat: row for row in store.boards()}
        cells = {row.threat: row for row in store.cells()}
    for linf, l1 in ((boards["linf"], boards["l1"]), (cells["linf"], cells["l1"])):
        assert linf.ball is None
        assert l1.ball is not None
        assert l1.ball["digest"] == digest
        assert l1.family == f"l1 by advbench-threats 0.1.0 #{digest[:8]}"
    shown = " ".join(advbench("show", "--db", stored).out.split())
    assert shown.count(shipper) == 1
    detail = " ".join(advbench("show", cells["l1"].key[:12], "--db", stored).out.split())
    assert "mnist-5k/l1/8" in detail
    assert shipper in detail
    assert advbench("render", "--db", stored, "--out", tmp_path / "site").code == 0
    pages = [page.read_text() for page in (tmp_path / "site/boards").rglob("*.html")]
    assert sum(shipper in page for page in pages) == 1


def test_what_is_stored_verifies_exports_and_is_crafted_again(stored: Path, advbench: Called, tmp_path: Path) -> None:
    with Store.open(stored, readonly=True) as store:
        (cell,) = store.rows("SELECT * FROM cells WHERE threat = 'l1'")
    verified = advbench("verify", "--db", stored)
    assert verified.code == 0, verified.out + verified.err
    again = advbench("reproduce", cell["key"][:12], "--db", stored)
    assert again.code == 0, again.out + again.err
    out = advbench("export", cell["key"][:12], tmp_path / "l1.npz", "--db", stored)
    assert out.code == 0, out.out + out.err


def test_another_source_is_another_ball_beside_the_old_one(
    stored: Path, installed: Path, tmp_path: Path, advbench: Called
) -> None:
    """Its cells and boards are new, and the old ones, which it may measure otherwise, stay apart."""
    db = copied(stored, tmp_path)
    source = installed / "advbench_threats/l1.py"
    text = source.read_text(encoding="utf-8")
    try:
        source.write_text(text.replace("abs().sum(1, dtype", "abs().mul(0.5).sum(1, dtype"), encoding="utf-8")
        with forgotten():
            run(db, discover())
        with Store.open(db, readonly=True) as store:
            boards = [row for row in store.boards() if row.threat == "l1"]
            assert len({row.family for row in boards}) == len({row.key for row in boards}) == 2
            assert len({row.name for row in boards}) == 1
            cells = store.rows("SELECT board, count(*) AS n FROM board_cells GROUP BY board")
            assert {row["n"] for row in cells} == {1}
            assert len(store.rows("SELECT * FROM cells WHERE threat = 'linf'")) == 1
    finally:
        source.write_text(text, encoding="utf-8")


class forgotten:  # noqa: N801  # reads as a statement
    """Python reads the distribution's modules anew inside, and has the old ones back afterwards."""

    def __enter__(self) -> None:
        self.old = {name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith("advbench_threats")}
        importlib.invalidate_caches()
        forget_sources()

    def __exit__(self, *error: object) -> None:
        sys.modules.update(self.old)
        forget_sources()


def test_where_it_is_not_installed_facts_are_shown_and_nothing_is_called_wrong(stored: Path, advbench: Called) -> None:
    verified = advbench("verify", "--db", stored, ADVBENCH_PLUGINS="builtin")
    assert "unknown threat 'l1'" in verified.out + verified.err
    assert "differs" not in verified.out
    shown = advbench("show", "--cells", "--db", stored, ADVBENCH_PLUGINS="builtin")
    assert "mnist-5k/l1/8" in shown.out
    refused = advbench("run", "--model", "small-cnn", "--threat", "l1", ADVBENCH_PLUGINS="builtin")
    assert "unknown threat 'l1'" in refused.complaint


def copied(stored: Path, folder: Path) -> Path:
    db = folder / "copy.sqlite"
    shutil.copy(stored, db)
    shutil.copytree(stored.with_suffix(".artifacts"), db.with_suffix(".artifacts"))
    return db


@pytest.mark.parametrize(
    ("ball", "words"),
    [("NULL", "ball is stored as nothing"), ("json_set(ball, '$.digest', 'of another')", "family is stored as")],
)
@pytest.mark.parametrize("table", ["cells", "boards"])
def test_who_ships_a_ball_can_not_be_forged(
    stored: Path, tmp_path: Path, advbench: Called, table: str, ball: str, words: str
) -> None:
    db = copied(stored, tmp_path)
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.execute(f"DROP TRIGGER {table}_no_update")
        connection.execute(f"UPDATE {table} SET ball = {ball} WHERE threat = 'l1'")
    checked = advbench("verify", "--db", db)
    assert checked.code != 0
    assert words in " ".join((checked.out + checked.err).split())


def test_an_entry_in_the_ball_is_merged_where_the_ball_is_installed_and_only_there(
    stored: Path, tmp_path: Path, advbench: Called
) -> None:
    taken = advbench("merge", tmp_path / "into.sqlite", stored)
    assert taken.code == 0, taken.out + taken.err
    with Store.open(tmp_path / "into.sqlite", readonly=True) as store:
        assert {row.threat for row in store.boards()} == {"l1", "linf"}
    left = advbench("merge", tmp_path / "without.sqlite", stored, ADVBENCH_PLUGINS="builtin")
    assert "unknown threat 'l1'" in " ".join((left.out + left.err).split())
    with Store.open(tmp_path / "without.sqlite", readonly=True) as store:
        assert {row.threat for row in store.boards()} == {"linf"}
