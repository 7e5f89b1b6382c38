"""What a stranger forges does not join, and `verify` finds it: one test for each way to a false first place."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import Advbench, Results
from tampering import forge, rehash, rows

from advbench.store import Store

pytestmark = pytest.mark.slow  # referees many databases

SUITE = """\
name: entry
data: toy-blots
examples: 12
shard: 5
models: toy
attacks: {attacks}
goals: {goals}
threats: {threats}
"""
Entry = Callable[..., Path]


@pytest.fixture(scope="module")
def honest(advbench: Advbench, tmp_path_factory: pytest.TempPathFactory) -> Entry:
    """A run as somebody would send it in, made once; nobody writes to it."""

    @cache
    def run(name: str, *options: object, attacks: str, goals: str, threats: str) -> Path:
        folder = tmp_path_factory.mktemp("honest")
        suite, db = folder / f"{name}.yaml", folder / f"{name}.sqlite"
        suite.write_text(SUITE.format(attacks=attacks, goals=goals, threats=threats))
        done = advbench("run", suite, *options, "--db", db)
        assert done.code == 0, done.out + done.err
        return db

    return run


@pytest.fixture
def entry(honest: Entry, tmp_path: Path) -> Entry:
    """Copies of honest runs, to forge."""

    def copied(
        name: str = "entry",
        *options: object,
        attacks: str = "pgd(steps=3)",
        goals: str = "untargeted",
        threats: str = "linf(eps=0.2)",
    ) -> Path:
        made = honest(name, *options, attacks=attacks, goals=goals, threats=threats)
        shutil.copytree(made.parent, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("leaderboard"))
        return tmp_path / made.name

    return copied


def refused(advbench: Advbench, db: Path, words: str, *options: object, verify: bool = True) -> None:
    """Nothing of it joins, for the reason given, and the forged database is not verified either."""
    into = db.with_name("into.sqlite")
    done = advbench("merge", into, db, *options)
    assert done.code == 1, done.out + done.err
    assert words in " ".join(done.out.split()), done.out
    assert "0 cells taken" in done.out
    assert rows(into, "SELECT * FROM cells") == []
    assert rows(into, "SELECT * FROM boards") == []
    if verify:
        checked = advbench("verify", "--db", db)
        assert checked.code == 1, checked.out
        assert words in " ".join(checked.out.split()), checked.out
        assert "all verified" not in checked.out


def taken(advbench: Advbench, db: Path, *options: object) -> None:
    into = db.with_name("honest.sqlite")
    done = advbench("merge", into, db, *options)
    assert done.code == 0, done.out + done.err
    assert advbench("verify", "--db", into).code == 0


@pytest.mark.parametrize(
    ("threats", "attacks", "sql", "words"),
    [
        (
            "linf(eps=0.0001)",
            "pgd(steps=3)",
            "eps = 0.2",
            "eps is stored as 0.2, and what it was made with says 0.0001",
        ),
        ("linf(eps=0.9)", "pgd(steps=3)", "eps = NULL, minimizes = 1", "eps is stored as nothing"),
        ("linf(eps=0.9)", "pgd(steps=3)", "minimizes = 1", "minimizes is stored as 1"),
        ("linf(eps=0.2)", "pgd(steps=3)", "params = '{\"eps\": 0.001}'", "eps is stored as 0.2, and what it was made"),
        (
            "linf(eps=0.2)",
            "pgd(steps=3)",
            "family = 'l2'",
            "family is stored as l2, and what it was made with says linf",
        ),
        (
            "linf(eps=0.2)",
            "pgd(steps=1, travel=0.001)",
            "attack = 'pgd'",
            "attack is stored as pgd, and what it was made",
        ),
        ("linf(eps=0.2)", "pgd(steps=1, travel=0.001)", "attack = 'square'", "has no parameter"),
        ("linf(eps=0.2)", "noise", "beyond_gradients = 1 - beyond_gradients", "beyond_gradients is stored as"),
        ("linf(eps=0.2)", "noise", "needs = 'gradients'", "needs is stored as gradients"),
        ("linf(eps=0.2)", "noise", "goal = 'class=01'", "unknown goal"),
        ("linf(eps=0.2)", "noise", "fit = 'judge'", "its fit is judge"),
        ("linf(eps=0.2)", "noise", 'ball = \'{"version": "2"}\'', "ball is stored as"),
        ("linf(eps=0.2)", "noise", "budget = 5", "its key is not that of what it says"),
        ("linf(eps=0.2)", "noise", "precision = 'bf16'", "its key is not that of what it says"),
        ("linf(eps=0.2)", "noise", "precision = 'fp8'", "its precision is fp8; beside float32 there is bf16"),
        ("linf(eps=0.2)", "noise", "seed = 5", "its key is not that of what it says"),
        ("linf(eps=0.2)", "noise", "stop = 'end'", "its key is not that of what it says"),
        ("linf(eps=0.2)", "noise", "content = 'another file'", "its key is not that of what it says"),
        ("linf(eps=0.2)", "noise", "key = 'a' || substr(key, 2)", "its key is not that of what it says"),
        ("l2(eps=1)", "boundary(queries=200)", "bank_fingerprint = NULL", "bank_fingerprint is stored as nothing"),
        (
            "linf(eps=0.2)",
            "universal-pgd(epochs=1)",
            f"fit_fingerprint = '{'ab' * 32}'",
            "fit_fingerprint is stored as ab",
        ),
    ],
)
@pytest.mark.parametrize("check", ["all", pytest.param("none", marks=pytest.mark.slow)])
def test_what_a_cell_says_is_derived_from_its_parameters(
    advbench: Advbench, entry: Entry, threats: str, attacks: str, sql: str, words: str, check: str
) -> None:
    db = entry(threats=threats, attacks=attacks)
    forge(db, f"UPDATE cells SET {sql}")
    refused(advbench, db, words, "--check", check)


def test_a_label_and_a_radius_are_found_under_a_key_that_was_computed_again(advbench: Advbench, entry: Entry) -> None:
    db = entry(attacks="pgd(steps=1, travel=0.001)", threats="linf(eps=0.0001)")
    taken(advbench, db)
    forge(db, "UPDATE cells SET attack = 'pgd', eps = 0.2", "UPDATE boards SET eps = 0.2, name = 'toy-blots/linf/0.2'")
    rehash(db)
    refused(advbench, db, "attack is stored as pgd, and what it was made with says pgd(steps=1, travel=0.001)")


def test_successes_relabelled_as_outside_of_a_smaller_ball_are_found(advbench: Advbench, entry: Entry) -> None:
    db = entry()
    forge(
        db,
        "UPDATE cells SET params = '{\"eps\": 0.001}'",
        "UPDATE outcomes SET violation = 'outside the ball', excess = size - 0.001",
    )
    rehash(db)
    refused(advbench, db, "eps is stored as 0.2, and what it was made with says 0.001")


def test_examples_that_a_least_likely_cell_left_out_are_missed(advbench: Advbench, entry: Entry) -> None:
    db = entry(goals="least-likely", threats="linf(eps=0.6)")
    taken(advbench, db)
    assert rows(db, "SELECT * FROM outcomes WHERE reached"), "somebody has to win for this test to say anything"
    assert drop_successes(db)
    refused(advbench, db, "examples have no perturbation")


def test_a_least_likely_cell_that_aims_elsewhere_is_found(advbench: Advbench, entry: Entry) -> None:
    """At the class between, which is another goal's label, with outcomes to match."""
    db = entry(goals="least-likely", threats="linf(eps=0.2)")
    with Store.open(db, readonly=True) as store:
        shards = store.rows("SELECT shard, artifact FROM shards")
        for row in shards:
            tensors = store.artifacts.get(row["artifact"])
            labels = tensors["example"] % 3
            tensors["goal_label"] = 3 - labels - tensors["goal_label"]  # the third of the three classes
            replace_artifact(db, row, tensors)
    forge(
        db,
        "UPDATE outcomes SET goal_label = 3 - example % 3 - goal_label",
        "UPDATE outcomes SET reached = (predicted = goal_label)",
    )
    refused(advbench, db, "the labels aimed at are not those that the goal asks for")


def drop_successes(db: Path) -> int:
    """Whoever was fooled is gone: from outcomes and pictures, and from the perturbations."""
    gone = [row["example"] for row in rows(db, "SELECT DISTINCT example FROM outcomes WHERE reached")]
    with Store.open(db, readonly=True) as store:
        for row in store.rows("SELECT shard, artifact FROM shards"):
            tensors = store.artifacts.get(row["artifact"])
            keep = [place for place, example in enumerate(tensors["example"].tolist()) if example not in gone]
            replace_artifact(db, row, {name: tensor[keep].clone() for name, tensor in tensors.items()})
    few = ", ".join(map(str, gone))
    forge(db, f"DELETE FROM outcomes WHERE example IN ({few})", f"DELETE FROM exhibits WHERE example IN ({few}, -1)")
    return len(gone)


def replace_artifact(db: Path, row: dict[str, Any], tensors: dict[str, Any]) -> None:
    with Store.open(db, readonly=True) as store:
        sha, size = store.artifacts.put(tensors)
    forge(
        db,
        f"UPDATE shards SET artifact = '{sha}' WHERE shard = {row['shard']} AND artifact = '{row['artifact']}'",
        f"INSERT OR REPLACE INTO artifacts VALUES ('{sha}', {size}, 'perturbations')",
    )


@pytest.fixture(scope="module")
def proved(advbench: Advbench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("proved")
    suite = folder / "proved.yaml"
    suite.write_text(SUITE.format(attacks="noise", goals="untargeted", threats="l2(eps=0.3)"))
    smoothed = "randomized-smoothing(sigma=0.1, samples=20, proof=100)"
    done = advbench("run", suite, "--defense", smoothed, "--db", folder / "entry.sqlite")
    assert done.code == 0, done.out + done.err
    assert rows(folder / "entry.sqlite", "SELECT * FROM certificates WHERE radius > 0")
    return folder


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE certificates SET family = 'linf'", "in linf is not proved again"),
        ("UPDATE certificates SET radius = radius + 0.004 WHERE radius < 0.3", "is not proved again"),
        ("UPDATE certificates SET radius = 99", "a radius of 99 in l2 is not proved again"),
        (
            "INSERT INTO certificates SELECT target, example, 'linf', predicted, 99 FROM certificates",
            "a radius of 99 in linf is not proved again",
        ),
        ("UPDATE certificates SET predicted = 2 - predicted WHERE predicted <> 1", "is not proved again"),
        ("DELETE FROM certificates WHERE example % 2", "what is proved of it in l2 is not stored"),
    ],
)
def test_certificates_are_exactly_those_that_are_proved_here(
    advbench: Advbench, proved: Path, tmp_path: Path, sql: str, words: str
) -> None:
    db = tmp_path / "entry.sqlite"
    db.write_bytes((proved / "entry.sqlite").read_bytes())
    (tmp_path / "entry.artifacts").symlink_to(proved / "entry.artifacts")
    forge(db, sql)
    refused(advbench, db, words)


def test_what_is_proved_joins(advbench: Advbench, proved: Path, tmp_path: Path) -> None:
    done = advbench("merge", tmp_path / "into.sqlite", proved / "entry.sqlite")
    assert done.code == 0, done.out
    certificates = "SELECT example, family, predicted, radius FROM certificates ORDER BY example"
    assert rows(tmp_path / "into.sqlite", certificates) == rows(proved / "entry.sqlite", certificates)


def test_nobody_squats_on_the_key_of_an_honest_cell(advbench: Advbench, entry: Entry, tmp_path: Path) -> None:
    honest, weak = entry("strong"), entry("weak", attacks="noise")
    (strong,) = rows(honest, "SELECT key FROM cells")
    forge(weak, f"UPDATE cells SET key = '{strong['key']}'")
    refused(advbench, weak, "its key is not that of what it says")
    into = tmp_path / "into.sqlite"
    again = advbench("run", tmp_path / "strong.yaml", "--db", into)
    assert "1 cells crafted, 0 kept" in again.out, "the owner's own run"
    assert "1 there already" in advbench("merge", into, honest).out, "and the honest entry is no conflict"


def test_nobody_squats_on_the_key_of_an_honest_target(advbench: Advbench, entry: Entry, tmp_path: Path) -> None:
    honest, weak = entry("strong"), entry("weak", "--model", "toy(scale=3)")
    (strong,) = rows(honest, "SELECT key FROM targets")
    forge(weak, f"UPDATE targets SET key = '{strong['key']}'", f"UPDATE cells SET source = '{strong['key']}'")
    rehash(weak)
    refused(advbench, weak, "toy(scale=3): its key is not that of what it says", "--check", "none", verify=False)
    refused(advbench, weak, "its key is not that of what it says")
    assert advbench("merge", tmp_path / "into.sqlite", honest).code == 0


def test_weak_weights_under_the_honest_row_answer_otherwise(advbench: Advbench, entry: Entry) -> None:
    """Everything in words is the honest target's; its answers can't be."""
    honest, weak = entry("strong"), entry("weak", "--model", "toy(scale=3)")
    (row,) = rows(honest, "SELECT * FROM targets")
    said = {
        name: json.dumps(v, sort_keys=True) if isinstance(v, dict) else v for name, v in row.items() if name != "id"
    }
    pairs = ", ".join(f"{name} = {'NULL' if v is None else repr(v)}" for name, v in said.items())
    forge(weak, f"UPDATE targets SET {pairs}", f"UPDATE cells SET source = '{row['key']}'")
    rehash(weak)
    refused(advbench, weak, "confidence")


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("label = 'wrn-70-16+adversarial-training (official)'", "label is stored as wrn-70-16"),
        ("model = 'toy(seed=1)'", "model is stored as toy(seed=1)"),
        ("defenses = 'none+none'", "stands alone"),
        ("access = 'nothing'", "access is stored as nothing"),
        ("randomised = 1", "its randomised is 1"),
        ("randomised = 1, draws = 9", "its key is not that of what it says"),
        ("origins = json_set(origins, '$.model.distribution', 'openai')", "its key is not that of what it says"),
        (f"weights_sha256 = '{'ab' * 32}'", "its key is not that of what it says"),
        ("recipe = '{\"epochs\": 1000}'", "it was trained by another recipe"),
        ("threshold = -1, false_positive_rate = 0.05", "it has no detector"),
    ],
)
def test_what_a_target_says_is_derived_from_its_parts(advbench: Advbench, entry: Entry, sql: str, words: str) -> None:
    db = entry()
    forge(db, f"UPDATE targets SET {sql}")
    refused(advbench, db, words)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE outcomes SET suspicion = 0.004",
        "UPDATE clean SET suspicion = -0.004",
        "UPDATE targets SET threshold = -0.004",
    ],
)
def test_suspicions_in_a_tiny_unit_are_no_freedom_to_write_others(advbench: Advbench, entry: Entry, sql: str) -> None:
    """Else every perturbation would have been noticed, and no clean image suspected."""
    db = entry("entry", "--defense", "toy-measuring")
    taken(advbench, db)
    forge(db, sql)
    refused(advbench, db, "threshold" if "threshold" in sql else "suspicion")


@pytest.mark.parametrize(
    "sql", ["UPDATE outcomes SET reached = 0, predicted = example % 3", "UPDATE clean SET predicted = 3"]
)
def test_answers_that_nobody_can_repeat_are_no_freedom_to_write_others(
    advbench: Advbench, entry: Entry, sql: str
) -> None:
    """Chance moves single answers, and never all of them in one direction."""
    db = entry("entry", "--defense", "toy-dice", "--examples", 30, threats="linf(eps=0.9)", attacks="pgd")
    taken(advbench, db)
    forge(db, sql)
    refused(advbench, db, "which no chance explains")


def test_weak_perturbations_of_a_target_that_never_answers_twice_the_same_are_found_too(
    advbench: Advbench, entry: Entry
) -> None:
    options = "--defense", "toy-dice", "--examples", 30
    db = entry("entry", *options, threats="linf(eps=0.3)", attacks="pgd(steps=1, travel=0.001)")
    strong = entry("strong", *options, threats="linf(eps=0.3)", attacks="pgd")
    (row,) = rows(strong, "SELECT attack_params FROM cells")
    params = json.dumps(row["attack_params"], sort_keys=True)
    forge(
        db, f"UPDATE cells SET attack = 'pgd', attack_params = '{params}'", "UPDATE boards SET required = '[\"pgd\"]'"
    )
    rehash(db)
    refused(advbench, db, "came out differently when it was crafted again", verify=False)


def test_a_threshold_is_set_again(advbench: Advbench, entry: Entry) -> None:
    db = entry("entry", "--defense", "toy-doubting")
    forge(db, "UPDATE targets SET threshold = threshold + 1")
    refused(advbench, db, "the detector's threshold is")


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("label = 'cifar10'", "the data set: label is stored as cifar10"),
        ('classes = \'["cat", "dog", "bird"]\'', "the data set: classes is stored as"),
        ("shape = '[1, 4, 16]'", "the data set: shape is stored as"),
        ("count = 5000", "the data set: count is stored as 5000"),
    ],
)
def test_what_a_data_set_says_is_what_is_here(advbench: Advbench, entry: Entry, sql: str, words: str) -> None:
    db = entry()
    forge(db, f"UPDATE datasets SET {sql}")
    refused(advbench, db, words)


def test_notes_of_a_stranger_do_not_travel(advbench: Advbench, entry: Entry, tmp_path: Path) -> None:
    db, into = entry(), tmp_path / "into.sqlite"
    with Store.open(db) as store:
        (target,) = store.targets()
        store.add_note(target.key, "verified", "independently audited")
    for check in ("none", "all"):
        assert advbench("merge", into, db, "--check", check).code == 0
        assert rows(into, "SELECT * FROM notes") == []
        into.unlink()
    assert "audited" not in advbench("merge", into, db).out


def test_notes_are_raised_by_whoever_takes_the_entry_in(advbench: Advbench, entry: Entry, tmp_path: Path) -> None:
    db, into = entry("entry", "--defense", "gaussian-noise"), tmp_path / "into.sqlite"
    kinds = rows(db, "SELECT kind, reason FROM notes")
    assert [row["kind"] for row in kinds] == ["randomised"]
    forge(db, "DELETE FROM notes")
    assert advbench("merge", into, db).code == 0
    assert rows(into, "SELECT kind, reason FROM notes") == kinds


@pytest.mark.parametrize(
    ("board", "cell", "words"),
    [
        ("eps = 0.3, name = 'toy-blots/linf/0.3'", "eps = 0.3", "eps is stored as 0.3"),
        ("required = '[\"noise\"]'", "", "its key is not that of what it says"),
        ('required = \'["noise", "noise"]\'', "", "not in order, or some stand there twice"),
        ("name = 'toy-blots/linf/0.4'", "", "name is stored as toy-blots/linf/0.4"),
        ("family = 'l2'", "", "family is stored as l2"),
        ("count = 11", "", "its examples are not the first 11"),
        ('ball = \'{"version": "2"}\'', "", "ball is stored as"),
    ],
)
def test_every_board_of_a_file_is_held_against_what_it_is_made_from(
    advbench: Advbench, entry: Entry, tmp_path: Path, board: str, cell: str, words: str
) -> None:
    db = entry()
    forge(db, f"UPDATE boards SET {board}", *([f"UPDATE cells SET {cell}"] if cell else []))
    checked = advbench("verify", "--db", db)
    assert checked.code == 1
    assert words in " ".join(checked.out.split())
    into = tmp_path / "into.sqlite"
    merged = advbench("merge", into, db)
    assert merged.code == 1
    assert "rejected" in merged.out
    assert any(one in " ".join(merged.out.split()) for one in (words, "boards.required must be"))
    assert rows(into, "SELECT * FROM boards") == []


def test_a_board_that_names_no_seed_does_not_rank_the_luckiest(advbench: Advbench, entry: Entry) -> None:
    """Under the name of the board whose seed is 0, where cells of whatever seed would count."""
    db, into = entry("lucky", "--seed", 17), "into.sqlite"
    forge(db, "UPDATE boards SET seed = NULL, name = 'toy-blots/linf/0.2'")
    rehash(db)
    done = advbench("merge", db.with_name(into), db)
    assert done.code == 1
    assert "it names no seed" in done.out
    assert rows(db.with_name(into), "SELECT * FROM boards") == []
    checked = advbench("verify", "--db", db)
    assert checked.code == 1
    assert "it names no seed" in checked.out


def test_images_are_read_once_however_many_fingerprints_a_file_gives_them(
    advbench: Advbench, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    import advbench_toys

    db, real, read = entry(), advbench_toys.Blots.load, []
    (names,) = [", ".join(row) for row in [rows(db, "SELECT * FROM boards")[0]]]
    others = names.replace("data_fingerprint", "?").replace("key", "?", 1)
    connection = sqlite3.connect(db)
    with connection:
        for number in range(20):
            other = f"{number:064x}"
            connection.execute(f"INSERT INTO boards ({names}) SELECT {others} FROM boards LIMIT 1", (other, other))
    connection.close()
    monkeypatch.setattr(advbench_toys.Blots, "load", lambda *given: read.append(given) or real(*given))
    done = advbench("merge", db.with_name("into.sqlite"), db, "--reproduce", "none")
    assert "20 rejected" in done.out
    assert len(read) == 1


def test_shards_cover_every_example_and_are_judged_on_their_own_target(advbench: Advbench, entry: Entry) -> None:
    for sql, words in (
        ("UPDATE shards SET first = 0, count = 2 WHERE shard = 1", "its shards do not cover its 12 examples"),
        ("DELETE FROM shards WHERE shard = 2", "its shards do not cover its 12 examples"),
        ("DELETE FROM judgements WHERE shard = 1", "shard 1 was not judged on its own target"),
        ("DELETE FROM clean WHERE example < 65", "examples have no clean answer of toy"),
    ):
        db = entry()
        forge(db, sql)
        refused(advbench, db, words)
        for path in (db, db.with_name("into.sqlite")):
            path.unlink()


def weak_under_a_strong_name(entry: Entry) -> Path:
    """Perturbations that do nothing, with a right label, right parameters and a right key: every verdict holds."""
    db = entry(attacks="pgd(steps=1, travel=0.001)")
    strong = entry("strong", attacks="pgd")
    (row,) = rows(strong, "SELECT attack_params FROM cells")
    forge(
        db,
        f"UPDATE cells SET attack = 'pgd', attack_params = '{json.dumps(row['attack_params'], sort_keys=True)}'",
        "UPDATE boards SET required = '[\"pgd\"]'",
    )
    rehash(db)
    return db


def test_weak_perturbations_under_a_strong_name_are_found_by_crafting(advbench: Advbench, entry: Entry) -> None:
    db = weak_under_a_strong_name(entry)
    assert advbench("verify", "--no-mark", "--db", db).code == 0, "nothing else tells"
    for options in ((), ("--reproduce", 1), ("--check", 5)):
        refused(advbench, db, "came out differently when it was crafted again", *options, verify=False)
    (cell,) = rows(db, "SELECT key FROM cells")
    assert advbench("reproduce", cell["key"], "--db", db).code == 1


@pytest.mark.parametrize(
    "beside",
    [
        pytest.param("another ball", marks=pytest.mark.slow),
        pytest.param("another target", marks=pytest.mark.slow),
        "not required",
    ],
)
def test_honest_cells_beside_a_weak_one_do_not_draw_its_lot(
    advbench: Advbench, entry: Entry, tmp_path: Path, beside: str
) -> None:
    """They leave less than it, or are so many that chance would hardly ever find it."""
    db, into = weak_under_a_strong_name(entry), tmp_path / "into.sqlite"
    many = f"[{', '.join(f'noise(tries={number})' for number in range(1, 21))}]"
    suite = SUITE.format(attacks=many, goals="untargeted", threats="linf(eps=1)")
    if beside == "another target":
        suite = SUITE.format(attacks="pgd", goals="untargeted", threats="linf(eps=0.2)")
        suite = suite.replace("models: toy", "models: toy(scale=0.2)")
    if beside == "not required":
        suite = SUITE.format(attacks=many, goals="untargeted", threats="linf: {eps: 0.2, required: [noise(tries=1)]}")
        suite = suite.replace("threats: ", "threats:\n  - ")
    (tmp_path / "beside.yaml").write_text(suite)
    assert advbench("run", tmp_path / "beside.yaml", "--db", db).code == 0
    assert advbench("run", tmp_path / "strong.yaml", "--model", "toy(scale=3)", "--db", into).code == 0
    done = advbench("merge", into, db, "--keep-boards")
    assert done.code == 1
    assert "came out differently when it was crafted again" in done.out
    assert "0 cells taken" in done.out


def test_who_crafts_nothing_again_takes_them_in(advbench: Advbench, entry: Entry, tmp_path: Path) -> None:
    """What a mark does not cover, as the documentation says."""
    db = weak_under_a_strong_name(entry)
    assert advbench("merge", tmp_path / "into.sqlite", db, "--reproduce", "none").code == 0


def test_a_cell_that_somebody_altered_does_not_draw_the_lot(advbench: Advbench, entry: Entry, tmp_path: Path) -> None:
    """It looks as if it decided, is refused when it is refereed, and the next one is crafted in its place."""
    db = entry(attacks="['pgd(steps=1, travel=0.001)', noise]")
    forge(
        db, "UPDATE outcomes SET reached = 1, predicted = 3 WHERE cell = (SELECT id FROM cells WHERE attack = 'noise')"
    )
    (row,) = rows(entry("strong", attacks="pgd"), "SELECT attack_params FROM cells")
    params = json.dumps(row["attack_params"], sort_keys=True)
    forge(db, f"UPDATE cells SET attack = 'pgd', attack_params = '{params}' WHERE attack LIKE 'pgd%'")
    rehash(db)
    done = advbench("merge", tmp_path / "into.sqlite", db, "--reproduce", 1)
    assert done.code == 1
    assert "came out differently" in done.out
    assert rows(tmp_path / "into.sqlite", "SELECT * FROM cells") == []


def test_reproduce_crafts_by_the_label_in_the_ball_of_the_board(advbench: Advbench, entry: Entry) -> None:
    db = entry(attacks="pgd(steps=1, travel=0.001)")
    (cell,) = rows(db, "SELECT key FROM cells")
    assert advbench("reproduce", cell["key"], "--db", db).code == 0
    forge(db, "UPDATE cells SET attack = 'pgd'")
    again = advbench("reproduce", cell["key"], "--db", db)
    assert again.code == 1
    assert "attack is stored as pgd" in " ".join(again.out.split())
    small = entry("small", threats="linf(eps=0.0001)")
    (cell,) = rows(small, "SELECT key FROM cells")
    forge(small, "UPDATE boards SET eps = 0.2, params = '{\"eps\": 0.2}', name = 'toy-blots/linf/0.2'")
    rehash(small)
    forge(small, "UPDATE cells SET eps = 0.2")
    again = advbench("reproduce", cell["key"], "--db", small)
    assert again.code == 1
    fooled = re.search(r"toy-blots/linf/0.2, toy: fooled .* \((\d+) of 12\) as stored, .* \((\d+)\) again", again.out)
    assert fooled, again.out
    assert int(fooled[1]) == 0 < int(fooled[2])


def endless(entry: Entry, attacks: str) -> Path:
    """A cell whose parameters ask for more work than anybody has time for; its key follows from them."""
    db = entry(attacks=attacks)
    (params,) = [row["attack_params"] for row in rows(db, "SELECT attack_params FROM cells")]
    name, count = attacks.split("(")[0], "seconds" if "seconds" in params else "steps"
    label = f"{name}({count}={10**9})"
    params = json.dumps({**params, count: 10**9}, sort_keys=True)
    forge(
        db,
        f"UPDATE cells SET attack = '{label}', attack_params = '{params}'",
        f"UPDATE boards SET required = '[\"{label}\"]'",
    )
    rehash(db)
    return db


@pytest.mark.parametrize("part", ["wrap", "suspicion"])
def test_a_target_that_takes_for_ever_to_answer_ends_in_time_and_is_said(
    advbench: Advbench, results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """A stranger's defense may ask itself a thousand million times."""
    import advbench_toys

    db = results.copy(tmp_path)
    monkeypatch.setattr(advbench_toys.Doubting, part, lambda *given: time.sleep(600))
    (key, *_) = [
        row["key"]
        for row in rows(
            db, "SELECT c.key FROM cells c JOIN targets t ON t.key = c.source WHERE t.defenses = 'toy-doubting'"
        )
    ]
    done = advbench("verify", key, "--no-mark", "--timeout", "0.5", "--db", db)
    assert done.code == 1
    assert "no answers within 0.5 s; `verify --timeout` gives more" in " ".join(done.out.split())
    again = advbench("reproduce", key, "--timeout", "0.5", "--db", db)
    assert again.code == 1
    assert "not ready within 0.5 s; `--timeout` gives it more" in " ".join((again.out + again.err).split())


@pytest.mark.parametrize("attacks", ["pgd(steps=1)", "toy-sleeping"], ids=["asks on", "asks nothing"])
def test_a_cell_that_takes_for_ever_ends_in_time_and_is_said(
    advbench: Advbench, entry: Entry, tmp_path: Path, attacks: str
) -> None:
    db = endless(entry, attacks)
    (cell,) = rows(db, "SELECT key FROM cells")
    words = "not crafted again within 0.5 s; `--timeout` gives it more"
    again = advbench("reproduce", cell["key"], "--db", db, "--timeout", 0.5)
    assert (again.code, again.out.splitlines()[-1]) == (1, f"{cell['key'][:12]} {words}")
    for number, options in enumerate(((), ("--reproduce", 1))):
        into = tmp_path / f"into{number}.sqlite"
        done = advbench("merge", into, db, "--timeout", 0.5, *options)
        assert done.code == 0, done.out
        assert words in done.out
        assert rows(into, "SELECT crafted, crafting FROM imports") == [{"crafted": 0, "crafting": words}]
    assert "give seconds, more than 0" in advbench("reproduce", cell["key"], "--db", db, "--timeout", 0).complaint


def test_crafting_again_ends_and_says_what_is_left(
    advbench: Advbench, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else an entry of many slow cells would keep its host for days."""
    import advbench.cli.merge as door
    from advbench.audit.recrafting import Recrafting

    db = entry(attacks="['pgd(steps=3)', noise]")
    monkeypatch.setattr(door, "recrafting_of", lambda text, timeout: Recrafting(longest=0))
    done = advbench("merge", tmp_path / "into.sqlite", db)
    assert done.code == 0
    assert "2 of 2 draws" in done.out
    assert "`--reproduce` with a number" in done.out
    assert "2 cells taken" in done.out


OLDER = "UPDATE cells SET content = NULL, fit_fingerprint = NULL, bank_fingerprint = NULL"


@pytest.mark.parametrize(
    ("threats", "attacks"),
    [("l2(eps=1)", "boundary(queries=200)"), ("linf(eps=0.2)", "universal-pgd(epochs=1)"), ("linf(eps=0.2)", "noise")],
)
def test_a_cell_older_than_what_its_key_is_made_from_joins_where_the_key_comes_out(
    advbench: Advbench, entry: Entry, threats: str, attacks: str
) -> None:
    db = entry(threats=threats, attacks=attacks)
    forge(db, f"{OLDER}, beyond_gradients = NULL")
    taken(advbench, db)
    forge(db, "UPDATE cells SET seed = 5")
    refused(advbench, db, "its key is not checkable")


def test_pictures_that_somebody_took_away_are_missed(advbench: Advbench, entry: Entry) -> None:
    db = entry()
    forge(db, "DELETE FROM exhibits WHERE example = 60")
    refused(advbench, db, "example 60: no picture of it is stored")


def test_parameters_that_are_none_at_all_are_told_in_a_line(advbench: Advbench, entry: Entry) -> None:
    for table, column in (("cells", "params"), ("cells", "attack_params"), ("targets", "params")):
        db = entry()
        forge(db, f"UPDATE {table} SET {column} = '[1, 2]'")
        for command in (("merge", db.with_name("into.sqlite"), db), ("verify", "--db", db)):
            assert f"the column {column} should hold a mapping" in advbench(*command).complaint
        db.unlink()


def test_crafting_again_needs_cells_that_were_refereed(advbench: Advbench, entry: Entry, tmp_path: Path) -> None:
    db = entry()
    complaint = advbench("merge", tmp_path / "into.sqlite", db, "--check", "none", "--reproduce", 1).complaint
    assert "only cells that were refereed are crafted again" in complaint
    wrong = advbench("merge", tmp_path / "into.sqlite", db, "--reproduce", "some").complaint
    assert "give auto, none, or how many cells" in wrong


def test_randomised_targets_are_crafted_again_too(advbench: Advbench, entry: Entry, tmp_path: Path) -> None:
    db = entry("entry", "--defense", "gaussian-noise", attacks="[pgd(steps=3), ddn(steps=5)]", threats="l2(eps=1)")
    done = advbench("merge", tmp_path / "into.sqlite", db, "--reproduce", 2)
    assert done.code == 0, done.out
    assert done.out.count("the same as stored") == 2


def test_of_a_cell_that_failed_only_that_travels(advbench: Advbench, entry: Entry, tmp_path: Path) -> None:
    """Nobody crafts it again, so the owner's run must not go on with what a stranger has left there."""
    db, into = weak_under_a_strong_name(entry), tmp_path / "into.sqlite"
    (cell,) = rows(db, "SELECT key FROM cells")
    with Store.open(db) as store:
        store.add_event(cell["key"], None, "failed", "later")
    for expected in ("1 cells taken", "1 there already"):
        done = advbench("merge", into, db)
        assert done.code == 0, done.out
        assert expected in done.out
    assert rows(into, "SELECT * FROM shards") == []
    assert rows(into, "SELECT * FROM outcomes") == []
    assert "1 cells crafted, 0 kept" in advbench("run", tmp_path / "strong.yaml", "--db", into).out
    assert advbench("verify", "--db", into).code == 0


def test_a_stranger_s_board_does_not_say_where_its_cells_are_crafted_again(advbench: Advbench, entry: Entry) -> None:
    """Else a board of a tiny ball would make the strong attack as weak as what is stored."""
    db = weak_under_a_strong_name(entry)
    forge(db, "UPDATE boards SET params = '{\"eps\": 0.0001}'")
    refused(advbench, db, "came out differently when it was crafted again", verify=False)


def test_smallest_perturbations_are_not_hidden_behind_a_tiny_board(advbench: Advbench, entry: Entry) -> None:
    """At its radius nobody is fooled, the one time and the other."""
    db = entry(attacks="ddn(steps=1)", threats="l2(eps=0.0001)")
    strong = entry("strong", attacks="ddn", threats="l2(eps=0.0001)")
    (row,) = rows(strong, "SELECT attack_params FROM cells")
    params = json.dumps(row["attack_params"], sort_keys=True)
    forge(
        db, f"UPDATE cells SET attack = 'ddn', attack_params = '{params}'", "UPDATE boards SET required = '[\"ddn\"]'"
    )
    rehash(db)
    assert advbench("verify", "--no-mark", "--db", db).code == 0
    refused(advbench, db, "came out differently when it was crafted again", verify=False)


def test_a_cell_of_nobody_is_told_in_a_line(advbench: Advbench, entry: Entry) -> None:
    db = entry()
    forge(db, f"UPDATE cells SET source = '{'0' * 64}'")
    refused(advbench, db, "nothing is said of its target")
