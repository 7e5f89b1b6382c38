"""The scripts of docs/parts.md do what the page says: each part is performed once, and all are joined."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

from advbench.run.part import Part, part_of

WORKFLOWS = ROOT / "docs/workflows"
STUB = '#!/bin/sh\nfor word in "$@"; do printf "%s\\n" "$word"; done > "$CALLED"\n'


def called(script: str, folder: Path, **environment: str) -> list[str]:
    """What a script calls advbench with."""
    stub = folder / "bin/advbench"
    stub.parent.mkdir(exist_ok=True)
    stub.write_text(STUB)
    stub.chmod(0o755)
    paths = os.pathsep.join([str(stub.parent), os.environ["PATH"]])
    given = {"PATH": paths, "CALLED": str(folder / "called"), **environment}
    subprocess.run(["bash", "-c", script], check=True, env=given, cwd=folder)
    return (folder / "called").read_text().splitlines()


def loaded(name: str) -> dict[Any, Any]:
    document: dict[Any, Any] = yaml.safe_load((WORKFLOWS / name).read_text(encoding="utf-8"))
    return document


def held(words: list[str]) -> Part:
    """The part, of a command line that advbench takes and whose database is that part's alone."""
    from advbench.cli import command_line
    from advbench.cli.app import App

    name, *arguments = words
    context = command_line(App()).resolve_command(None, [name])[1].make_context(name, arguments)
    part = part_of(context.params["part"])
    assert str(context.params["db"]) == f"part-{part.number}.sqlite"
    return part


def test_slurm_sends_every_part_once(tmp_path: Path) -> None:
    text = (WORKFLOWS / "parts-slurm.sh").read_text(encoding="utf-8")
    first, last = map(int, re.search(r"^#SBATCH --array=(\d+)-(\d+)$", text, re.MULTILINE).groups())  # type: ignore[union-attr]
    given = {"SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_CPUS_PER_TASK": "4", "SLURM_ARRAY_TASK_COUNT": "1"}
    parts = [
        held(called(text, tmp_path, SLURM_ARRAY_TASK_ID=str(number), **given)) for number in range(first, last + 1)
    ]
    assert parts == [Part(number, last) for number in range(1, last + 1)]


def test_kubernetes_sends_every_part_once(tmp_path: Path) -> None:
    spec = loaded("parts-kubernetes.yaml")["spec"]
    assert spec["completionMode"] == "Indexed"
    (container,) = spec["template"]["spec"]["containers"]
    shell = shlex.join([*container["command"], *container["args"]])
    count = spec["completions"]
    parts = [held(called(shell, tmp_path, JOB_COMPLETION_INDEX=str(index))) for index in range(count)]
    assert parts == [Part(number, count) for number in range(1, count + 1)]


def test_a_matrix_sends_every_part_once_and_joins_them(tmp_path: Path) -> None:
    jobs = loaded("parts-github.yaml")["jobs"]
    numbers = jobs["part"]["strategy"]["matrix"]["part"]
    (run,) = [step["run"] for step in jobs["part"]["steps"] if "--part" in step.get("run", "")]
    count = str(len(numbers))
    parts = [held(called(run, tmp_path, PART=str(number), PARTS=count)) for number in numbers]
    assert parts == [Part(number, len(numbers)) for number in range(1, len(numbers) + 1)]
    (join,) = [step["run"] for step in jobs["join"]["steps"] if "merge" in step.get("run", "")]
    for number in numbers:
        (tmp_path / f"part-{number}.sqlite").touch()
    assert called(join, tmp_path)[:5] == ["merge", "--parts", "all.sqlite", "part-1.sqlite", "part-2.sqlite"]
    assert {jobs["part"]["needs"], jobs["join"]["needs"]} == {"weights", "part"}


@pytest.mark.parametrize("name", ["parts-slurm.sh", "parts-kubernetes.yaml", "parts-github.yaml"])
def test_the_page_names_the_script(name: str) -> None:
    assert f"](workflows/{name})" in (ROOT / "docs/parts.md").read_text(encoding="utf-8")
