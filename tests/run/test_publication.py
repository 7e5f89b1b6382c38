"""What attacks make of images that are not to be published is shown, exported and handed on by nobody."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from conftest import Advbench, Results, _results
from tampering import by_hand

from advbench import evaluate
from advbench.errors import AdvbenchError
from advbench.store import Store, content
from advbench_leaderboard.render import render

SUITE = """\
name: secret
data: [toy-secret, toy-blots]
examples: 20
shard: 8
models: toy
attacks: [pgd(steps=3)]
threats: linf(eps=0.2)
"""


@pytest.fixture(scope="module")
def both(advbench: Advbench, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The same attack on images that may be published and on others."""
    return _results(advbench, tmp_path_factory.mktemp("secret") / "secret.sqlite", SUITE)


def cell_of(db: Path, dataset: str) -> str:
    with Store.open(db, readonly=True) as store:
        return next(cell.key for cell in store.cells() if cell.dataset == dataset)


def artifacts(db: Path) -> set[str]:
    return {file.stem for file in db.with_suffix(".artifacts").rglob("*.safetensors")}


def crafted(db: Path, dataset: str) -> set[str]:
    with Store.open(db, readonly=True) as store:
        return {row.artifact for row in store.shards(cell_of(db, dataset)).values()}


def with_pictures(db: Path) -> Path:
    """The database, as if somebody had kept pictures all the same."""
    with by_hand(db, triggers_return=True) as connection:
        connection.execute(
            """
            INSERT INTO exhibits SELECT s.id, x.example, x.original, x.perturbed, x.redrawn, x.moved, x.words
            FROM exhibits x JOIN cells c ON c.id = x.cell JOIN cells s ON s.dataset = 'toy-secret'
            """
        )
    return db


class TestRun:
    def test_keeps_facts_and_perturbations_and_no_pictures(self, both: Results) -> None:
        with Store.open(both.db, readonly=True) as store:
            assert [row.publishable for row in store.datasets().values() if row.label == "toy-secret"] == [0]
            assert [row.publishable for row in store.datasets().values() if row.label == "toy-blots"] == [1]
            assert not store.exhibits(cell_of(both.db, "toy-secret"))
            assert len(store.exhibits(cell_of(both.db, "toy-blots"))) == 8
        assert len(crafted(both.db, "toy-secret")) == 3
        assert crafted(both.db, "toy-secret") <= artifacts(both.db)

    def test_what_it_wrote_is_verified(self, advbench: Advbench, both: Results, tmp_path: Path) -> None:
        done = advbench("verify", "--db", both.copy(tmp_path))
        assert done.code == 0, done.out + done.err

    def test_pictures_that_somebody_kept_all_the_same_are_found(
        self, advbench: Advbench, both: Results, tmp_path: Path
    ) -> None:
        db = with_pictures(both.copy(tmp_path))
        done = advbench("verify", "--db", db)
        assert done.code == 1
        assert "8 pictures are stored, of images that are not to be published" in done.out

    def test_a_database_that_says_they_may_be_published_is_contradicted(
        self, advbench: Advbench, both: Results, tmp_path: Path
    ) -> None:
        db = both.copy(tmp_path)
        with by_hand(db, triggers_return=True) as connection:
            connection.execute("UPDATE datasets SET publishable = 1")
        assert "publishable is stored as 1, and what it was made with says 0" in advbench("verify", "--db", db).out
        assert "are not to be published" in advbench("export", cell_of(db, "toy-secret"), "x.npz", "--db", db).complaint
        merged = advbench("merge", tmp_path / "into.sqlite", db, "--check", "none")
        assert merged.code == 1
        assert "publishable is stored as 1" in merged.out


class TestRender:
    def page(self, site: Path, db: Path, dataset: str) -> str:
        (file,) = site.glob(f"cells/{cell_of(db, dataset)[:8]}*.html")
        return file.read_text(encoding="utf-8")

    def test_shows_no_pictures_and_says_why(self, both: Results, tmp_path: Path) -> None:
        db, site = with_pictures(both.copy(tmp_path)), tmp_path / "site"
        render(db, site)
        secret, other = (self.page(site, db, name) for name in ("toy-secret", "toy-blots"))
        assert "data:image" not in secret
        assert "No pictures: images of toy-secret are not to be published" in secret
        assert other.count("data:image") >= 16
        assert "not to be published" not in other

    def test_lays_no_database_with_such_pictures_beside_the_pages(
        self, advbench: Advbench, both: Results, tmp_path: Path
    ) -> None:
        db, site = both.copy(tmp_path), tmp_path / "site"
        assert advbench("render", "--db", db, "--out", site, "--with-database").code == 0
        with_pictures(db)
        done = advbench("render", "--db", db, "--out", tmp_path / "other", "--with-database")
        assert "8 pictures of toy-secret, whose images are not to be published" in done.complaint
        assert not (tmp_path / "other").exists()


def test_export_refuses_them_in_a_line(advbench: Advbench, both: Results, tmp_path: Path) -> None:
    out = tmp_path / "examples.npz"
    assert advbench("export", cell_of(both.db, "toy-blots"), out, "--db", both.db).code == 0
    out.unlink()
    key = cell_of(both.db, "toy-secret")
    done = advbench("export", key, out, "--db", both.db)
    assert done.complaint == (
        f"cell {key[:12]}: images of toy-secret are not to be published, nor what attacks made of them, so nothing is "
        "exported"
    )
    assert not out.exists()


@pytest.fixture(scope="module")
def merged(advbench: Advbench, both: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything of the run, refereed and taken."""
    into = tmp_path_factory.mktemp("merged") / "into.sqlite"
    done = advbench("merge", into, both.db)
    assert done.code == 0, done.out + done.err
    words = "1 of them came without perturbations and pictures: images of toy-secret are not to be published."
    assert words in " ".join(done.out.split())
    return into


class TestMerge:
    def test_facts_travel_and_perturbations_stay(self, both: Results, merged: Path) -> None:
        with Store.open(merged, readonly=True) as one, Store.open(both.db, readonly=True) as other:
            ours, theirs = content(one), content(other)
        for table in ("datasets", "targets", "clean", "cells", "shards", "judgements", "outcomes", "exhibits"):
            assert ours[table] == theirs[table], table
        assert artifacts(merged) == crafted(both.db, "toy-blots")
        assert len(ours["artifacts"]) == len(artifacts(merged))

    def test_merging_twice_changes_nothing(self, advbench: Advbench, both: Results, merged: Path) -> None:
        done = advbench("merge", merged, both.db)
        assert (done.code, "2 there already" in done.out) == (0, True), done.out

    def test_pictures_stay_behind_too(self, advbench: Advbench, both: Results, tmp_path: Path) -> None:
        into, entry = tmp_path / "into.sqlite", with_pictures(both.copy(tmp_path))
        refused = advbench("merge", into, entry)
        assert refused.code == 1
        assert "8 pictures are stored, of images that are not to be published" in refused.out
        taken = advbench("merge", into, entry, "--check", "none")
        assert taken.code == 0, taken.out + taken.err
        with Store.open(into, readonly=True) as store:
            assert not store.exhibits(cell_of(into, "toy-secret"))
            assert store.exhibits(cell_of(into, "toy-blots"))

    def test_what_was_left_behind_is_told_from_what_was_lost(
        self, advbench: Advbench, merged: Path, tmp_path: Path
    ) -> None:
        done = advbench("verify", "--db", merged)
        assert done.code == 1
        words = "its perturbations are not here, since images of toy-secret are not to be published"
        assert words in " ".join(done.out.split())
        key = cell_of(merged, "toy-secret")
        assert advbench("reproduce", key[:12], "--db", merged).code == 0
        # nobody can referee it any more, so it goes on only to who asks for that
        assert advbench("merge", tmp_path / "third.sqlite", merged).code == 1
        third = advbench("merge", tmp_path / "third.sqlite", merged, "--check", "none")
        assert third.code == 0, third.out + third.err
        assert cell_of(tmp_path / "third.sqlite", "toy-secret") == key

    def test_newcomers_are_judged_on_what_is_crafted_again(
        self, advbench: Advbench, merged: Path, both: Results, tmp_path: Path
    ) -> None:
        db = Path(shutil.copy(merged, tmp_path / "copy.sqlite"))
        shutil.copytree(merged.with_suffix(".artifacts"), tmp_path / "copy.artifacts")
        suite = tmp_path / "more.yaml"
        suite.write_text(SUITE.replace("models: toy", "models: [toy, toy(seed=1)]"))
        done = advbench("run", suite, "--db", db)
        assert done.code == 0, done.out + done.err
        with Store.open(db, readonly=True) as store:
            assert len({target for target, _ in store.judged(cell_of(db, "toy-secret"))}) == 2


class TestEvaluate:
    def test_keeps_no_pictures_of_a_data_set_that_says_so(self, advbench: Advbench, tmp_path: Path) -> None:
        found = evaluate("toy", dataset="toy-secret", attacks="pgd(steps=2)", threats="linf(eps=0.2)", examples=8)
        assert not found.store.rows("SELECT example FROM exhibits")
        assert found.robust_accuracy

    def test_keeps_no_pictures_of_images_that_are_said_not_to_be_published(self) -> None:
        images, labels = torch.rand(6, 1, 8, 8), torch.arange(6) % 3
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        for publishable, count in ((True, 6), (False, 0)):
            found = evaluate(net, images, labels, attacks="fgsm", threats="linf(eps=0.1)", publishable=publishable)
            assert len(found.store.rows("SELECT example FROM exhibits")) == count
            assert [row.publishable for row in found.store.datasets().values()] == [int(publishable)]

    def test_a_data_set_says_so_by_itself(self) -> None:
        with pytest.raises(AdvbenchError, match="publishable= goes with images"):
            evaluate("toy", dataset="toy-secret", attacks="fgsm", threats="linf(eps=0.1)", publishable=False)
