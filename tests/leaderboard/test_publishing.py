"""What pages print and docs/publishing.md says works: numbers made again, entries taken in, a workflow that runs."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Advbench, Results
from site_facts import read
from tampering import by_hand

from advbench.store import Store

WORKFLOW = ROOT / "docs/workflows/leaderboard.yaml"
COUNTS = re.compile(r"fooled [\d.]+ % \((\d+) of (\d+)\) as stored, [\d.]+ % \((\d+)\) again; (.*)")


def printed(page: Path, name: str) -> list[str]:
    """The command of that name on a page, as a reader copies it."""
    text = page.read_text(encoding="utf-8")
    (line,) = re.findall(rf'<pre class="command"><code>(advbench {name} [^<]*)</code>', text)
    return shlex.split(line.replace("&#39;", "'").replace("&#34;", '"'))[1:]


def alone(results: Results, folder: Path) -> Path:
    """The database and nothing else: no perturbations, no suite."""
    copy = folder / results.db.name
    copy.write_bytes(results.db.read_bytes())
    return copy


def test_the_command_on_a_cell_s_page_makes_its_number_again_from_the_database_alone(
    advbench: Advbench, results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = alone(results, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert advbench("render", "--db", db, "--out", tmp_path / "site").code == 0
    with Store.open(db, readonly=True) as store:
        rates = {row["cell"]: row for row in store.rates("fooling")}
    pages = sorted((tmp_path / "site/cells").glob("*.html"))
    assert len(pages) == len(rates) == 24
    fooled = 0
    for page in pages:
        done = advbench(*printed(page, "reproduce"))
        assert done.code == 0, done.out + done.err
        stored, n, again, verdicts = COUNTS.search(done.out).groups()  # type: ignore[union-attr]
        (row,) = [row for cell, row in rates.items() if cell.startswith(page.name.split("-")[0])]
        assert (int(stored), int(n)) == (row["fooled"], row["n"])
        assert again == stored
        assert verdicts == "every verdict is the same"
        shown = next(cells for cells in read(page).rows if cells and cells[0] == row["board_name"])[1]
        assert shown.startswith(f"{100 * int(again) / int(n):.1f}")
        fooled += int(again)
    assert fooled, "attacks that do nothing would prove nothing"


def test_transfer_numbers_are_made_again_too(advbench: Advbench, results: Results, tmp_path: Path) -> None:
    db = alone(results, tmp_path)
    with Store.open(db, readonly=True) as store:
        row = max(store.rates("transfer"), key=lambda row: row["fooled"])
    done = advbench("reproduce", row["cell"], "--on", row["target_label"], "--db", db)
    assert done.code == 0, done.out + done.err
    assert f"{row['target_label']}: fooled" in done.out
    counts = [(int(found[0]), int(found[2])) for found in COUNTS.findall(done.out)]
    assert len(counts) == 2
    assert counts[1] == (row["fooled"], row["fooled"])
    assert "is called so" not in done.out
    assert "was judged on" in advbench("reproduce", row["cell"], "--on", "nobody", "--db", db).complaint


@pytest.mark.parametrize("spelled", ["toy( seed = 1 )", "toy( seed=1 )+none", "toy(seed=+1)"])
def test_targets_are_named_as_run_takes_them(advbench: Advbench, results: Results, spelled: str) -> None:
    with Store.open(results.db, readonly=True) as store:
        rows = store.rates("transfer")
    cell = next(row["cell"] for row in rows if row["source_label"] == "toy" and row["target_label"] == "toy(seed=1)")
    done = advbench("reproduce", cell, "--on", spelled, "--db", results.db)
    assert done.code == 0, done.out + done.err
    assert "toy(seed=1): fooled" in done.out
    compared = advbench("compare", "toy", spelled, "--db", results.db)
    assert compared.code == 0, compared.out + compared.err


def test_a_minimal_norm_attack_a_shared_perturbation_and_settings_of_the_suite_are_made_again(
    advbench: Advbench, tmp_path: Path
) -> None:
    (tmp_path / "many.yaml").write_text(
        "data: toy-blots\nexamples: 12\nshard: 5\nseed: 3\nstop: end\nbudget: 40\nfalse_positive_rate: 0.2\n"
        "models: toy\ndefenses: [none, toy-doubting]\n"
        "attacks: [ddn(steps=8), pgd(steps=3), universal-pgd(epochs=2)]\nthreats: [l2(eps=1), l2(eps=3)]\n"
    )
    db = tmp_path / "many.sqlite"
    assert advbench("run", tmp_path / "many.yaml", "--db", db).code == 0
    with Store.open(db, readonly=True) as store:
        done = [row["key"] for row in store.rates("cell_state") if row["status"] == "done"]
        attacks = {
            row["attack"].split("(")[0] for row in store.rows("SELECT attack, key FROM cells") if row["key"] in done
        }
    assert attacks == {"ddn", "pgd", "universal-pgd"}
    for path in (tmp_path / "many.artifacts").rglob("*.safetensors"):
        path.unlink()
    again = advbench("reproduce", *done, "--db", db)
    assert again.code == 0, again.out + again.err
    assert len(COUNTS.findall(again.out)) > len(done), "a minimal-norm cell has a number on each board"


def test_a_number_that_is_another_one_is_told_with_exit_code_1(
    advbench: Advbench, results: Results, tmp_path: Path
) -> None:
    db = alone(results, tmp_path)
    with by_hand(db) as connection:
        connection.execute("UPDATE outcomes SET reached = 1 WHERE cell = 1")
        key = connection.execute("SELECT key FROM cells WHERE id = 1").fetchone()[0]
    done = advbench("reproduce", key, "--db", db)
    assert done.code == 1
    assert "verdicts differ" in done.out
    assert "(20 of 20) as stored" in done.out


def test_what_has_no_number_is_refused_in_words(advbench: Advbench, results: Results, tmp_path: Path) -> None:
    db = alone(results, tmp_path)
    with Store.open(db) as store:
        key = store.rows("SELECT key FROM cells WHERE id = 1")[0]["key"]
        store.add_event(key, None, "failed", "later")
    assert "is not done" in advbench("reproduce", key, "--db", db).complaint
    assert "no cell's key begins" in advbench("reproduce", "zzz", "--db", db).complaint


def test_an_entry_is_taken_in_and_stands_on_the_pages_as_the_documentation_says(
    advbench: Advbench, results: Results, tmp_path: Path
) -> None:
    boards, mine, site = tmp_path / "boards.sqlite", tmp_path / "mine.sqlite", tmp_path / "site"
    assert advbench("run", results.suite, "--model", "toy", "--db", boards).code == 0
    assert advbench("verify", "--db", boards).code == 0
    assert advbench("run", results.suite, "--model", "toy(seed=1)", "--db", mine).code == 0
    assert advbench("merge", boards, mine, "--keep-boards").code == 0
    assert advbench("render", "--db", boards, "--out", site, "--with-database").code == 0
    for page in (site / "boards").glob("*.html"):
        rows = [tag for name, tag in read(page).tags if name == "tr" and "data-model" in tag]
        assert len(rows) == 4
        assert {row["data-verified"] for row in rows} == {"verified"}
    provenance = (site / "provenance.html").read_text(encoding="utf-8")
    assert "behind 24 of 24 cells" in provenance
    assert ["mine.sqlite", "12", "12"] in [row[:3] for row in read(site / "provenance.html").rows]
    with Store.open(site / "data/boards.sqlite", readonly=True) as store:
        assert len(store.rows("SELECT * FROM cells")) == 24


def steps() -> list[dict[str, Any]]:
    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def test_every_command_of_the_workflow_exists() -> None:
    from advbench.cli import command_line
    from advbench.cli.app import App

    known = command_line(App())
    lines = [
        line for step in steps() for line in re.findall(r"(advbench (?!results)[a-z]+ [^|;\n]*)", step.get("run", ""))
    ]
    assert {line.split()[1] for line in lines} == {"merge", "show", "verify", "render"}
    for line in lines:
        name, *arguments = shlex.split(line)[1:]
        known.resolve_command(None, [name])[1].make_context(name, arguments)


def test_the_workflow_s_scripts_can_be_read_and_its_actions_have_a_version(tmp_path: Path) -> None:
    for step in steps():
        if "run" in step:
            script = re.sub(r"\$\{\{.*?\}\}", "main", step["run"])
            done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
            assert done.returncode == 0, done.stderr
        else:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])


def test_strangers_pull_requests_get_no_right_to_write() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in WORKFLOW.read_text(encoding="utf-8")
    check = workflow["jobs"]["check"]
    assert "permissions" not in check
    assert check["if"] == "github.event_name == 'pull_request'"
    installs = [step["run"] for step in check["steps"] if "pip install" in step.get("run", "")]
    assert all('-r "$RUNNER_TEMP/requirements.txt"' in text for text in installs), "what main names, not the newcomer"
