"""Commands load what they need and no more; what plugins are called is remembered, and believed no longer than true."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from advbench import cli
from advbench.cli.app import App
from advbench.cli.loading import COMMANDS
from advbench.hooks import COMMAND_GROUP
from advbench.plugins.installed import installed
from advbench.plugins.remembered import Memory, Row, fingerprint, recalled, remember

if TYPE_CHECKING:
    from conftest import Advbench, Results

IN_TURN = """
import json, os, sys
from advbench.__main__ import main
from http.server import ThreadingHTTPServer

def asked_to_end(self):
    raise KeyboardInterrupt

ThreadingHTTPServer.serve_forever = asked_to_end
loaded = []
for line in json.loads(sys.stdin.read()):
    os.environ.update(line.get("environment", {}))
    sys.argv = ["advbench", *line["arguments"]]
    try:
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    sys.stdout.flush()
    loaded.append([line["arguments"], code, "torch" in sys.modules])
    for name in line.get("environment", {}):
        del os.environ[name]
print(json.dumps(loaded), file=sys.stderr)
"""


@dataclass(frozen=True)
class Ended:
    out: str
    err: str
    commands: list[tuple[list[str], int, bool]]
    """Arguments, exit code, and whether torch was in memory afterwards."""

    @property
    def torch(self) -> bool:
        return any(loaded for _, _, loaded in self.commands)


def in_turn(
    *commands: list[str], cache: Path, plugins: str = "builtin", path: Path | None = None, complete: str = ""
) -> Ended:
    """Commands one after the other in one process of their own; those before a fault are told from those after."""
    environment = {**os.environ, "ADVBENCH_CACHE": str(cache), "ADVBENCH_PLUGINS": plugins}
    environment["PYTHONPATH"] = os.pathsep.join([*([str(path)] if path else []), environment.get("PYTHONPATH", "")])
    lines: list[dict[str, object]] = [{"arguments": command} for command in commands]
    if complete:
        asked = {"_ADVBENCH_COMPLETE": "complete_bash", "COMP_WORDS": complete, "COMP_CWORD": "1"}
        lines.append({"arguments": [], "environment": asked})
    command = [sys.executable, "-c", IN_TURN]
    done = subprocess.run(command, input=json.dumps(lines), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    *err, told = done.stderr.splitlines()
    return Ended(done.stdout, "\n".join(err), [(list(a), c, t) for a, c, t in json.loads(told)])


def test_every_module_of_the_command_line_that_holds_a_command_is_listed() -> None:
    """A command is a function of the name of its module; one that is not listed would be silently none."""
    trees = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in Path(cli.__file__).parent.glob("*.py")}
    commands = {
        module
        for module, tree in trees.items()
        if any(isinstance(node, ast.FunctionDef) and node.name == module for node in tree.body)
    }
    assert commands == set(COMMANDS)


def test_help_version_and_completion_load_no_torch(tmp_path: Path) -> None:
    own = [*COMMANDS, *(point.name for point, origin in installed(COMMAND_GROUP) if origin.built_in)]
    assert {"render", "serve", "speed"} <= set(own)
    wanted = [["--version"], ["--help"], [], *([name, "--help"] for name in own), ["--show-completion"]]
    done = in_turn(*wanted, cache=tmp_path, complete="advbench re")
    assert [command for command in done.commands if command[2]] == []
    assert [code for arguments, code, _ in done.commands if arguments[-1:] in (["--help"], ["--version"])] == [0] * (
        len(own) + 2
    )
    assert {"render", "reproduce"} <= set(done.out.splitlines()[-2:])


def test_what_reads_results_loads_no_torch(results: Results, tmp_path: Path) -> None:
    from advbench.store import Store

    with Store.open(results.db, readonly=True) as store:
        cells = [row["key"][:12] for row in store.rows("SELECT key FROM cells")]
    db = ["--db", str(results.db)]
    shows = [["show", *db, *more] for more in ([], ["--cells"], ["--sweeps"], ["--detectors"], *([c] for c in cells))]
    done = in_turn(
        *shows,
        ["compare", "toy", "toy(seed=1)", *db],
        ["compare", str(results.db), str(results.db)],
        ["render", *db, "--out", str(tmp_path / "site")],
        ["serve", *db, "--port", "0"],
        cache=tmp_path / "cache",
    )
    assert [command for command in done.commands if command[1:] != (0, False)] == []
    assert "http://127.0.0.1:" in done.out
    assert (tmp_path / "site/index.html").is_file()
    assert not (tmp_path / "cache/plugins").exists()


Install = Callable[..., Path]

STRANGER = """
import torch
from advbench.hooks import hookimpl

@hookimpl
def advbench_commands(app):
    @app.command("stranger-hook")
    def answered():
        '''WORDS'''
        print("hello from the hook")

def pointed():
    '''From an entry point.'''
    print("hello from the entry point")
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A stranger's distribution: a command by the hook and another by an entry point, behind an import of torch."""
    folder = tmp_path / "installed"
    info = folder / "stranger-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[advbench]\nstranger = stranger_plugin\n[advbench.commands]\nstranger-point = stranger_plugin:pointed\n"
    )
    (folder / "stranger_plugin.py").write_text(STRANGER.replace("WORDS", "From the hook."))
    return folder


@pytest.mark.slow
def test_strangers_commands_are_listed_as_the_last_discovery_found_them(place: Path, tmp_path: Path) -> None:
    cache, plugins = tmp_path / "cache", "builtin,stranger"
    first = in_turn(["--help"], cache=cache, plugins=plugins, path=place)
    assert first.torch, "nothing is remembered"
    assert "stranger-hook   From the hook." in first.out
    assert "stranger-point  From an entry point." in first.out
    again = in_turn(["--help"], ["plugins"], cache=cache, plugins=plugins, path=place, complete="advbench stranger")
    assert not again.torch
    assert again.out.startswith(first.out)
    assert {"stranger-hook", "stranger-point"} <= set(again.out.split("small-cnn")[-1].split())
    run = in_turn(["stranger-point"], ["stranger-hook"], cache=cache, plugins=plugins, path=place)
    assert run.out == "hello from the entry point\nhello from the hook\n"
    (place / "stranger_plugin.py").write_text(STRANGER.replace("WORDS", "Written anew."))
    edited = in_turn(["--help"], cache=cache, plugins=plugins, path=place)
    assert edited.torch
    assert "Written anew." in edited.out


def test_no_torch_for_results_where_strangers_are_installed_and_nothing_is_remembered(
    place: Path, results: Results, tmp_path: Path
) -> None:
    done = in_turn(
        ["show", "--db", str(results.db)],
        ["render", "--db", str(results.db), "--out", str(tmp_path / "site")],
        ["run", "--help"],
        cache=tmp_path / "cache",
        plugins="",
        path=place,
    )
    assert [command for command in done.commands if command[1:] != (0, False)] == []


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADVBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def here(place: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stranger, installed in this process; beside it nothing is loaded."""
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setenv("ADVBENCH_PLUGINS", "stranger")
    monkeypatch.delitem(sys.modules, "stranger_plugin", raising=False)
    return place


MEMORY = Memory((), {"stranger-hook": "From the hook."}, whole=True)


def test_what_is_installed_decides_whether_a_memory_is_true(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(MEMORY)
    assert recalled() == MEMORY
    (here / "stranger_plugin.py").write_text("")
    assert recalled() is None, "a source that no record covers"
    remember(MEMORY)
    (here / "other-2.0.dist-info").mkdir()
    assert recalled() is None, "another distribution, which a plugin may need"
    remember(MEMORY)
    info = here / "stranger-1.0.dist-info"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.1\n")
    assert recalled() is None, "another version"
    remember(MEMORY)
    (info / "entry_points.txt").write_text("[advbench]\nother = stranger_plugin\n")
    assert recalled() is None, "another entry point"
    remember(MEMORY)
    monkeypatch.setenv("ADVBENCH_PLUGINS", "builtin")
    assert recalled() is None, "another choice"


def test_a_record_of_files_stands_for_them(here: Path) -> None:
    record = here / "stranger-1.0.dist-info/RECORD"
    record.write_text("stranger_plugin.py,sha256=abc,123\n")
    before = fingerprint()
    (here / "stranger_plugin.py").write_text("")
    assert fingerprint() == before
    record.write_text("stranger_plugin.py,sha256=def,0\n")
    assert fingerprint() != before


@pytest.mark.parametrize(
    "damage",
    [
        lambda found: "",
        lambda found: "[]",
        lambda found: "null",
        lambda found: json.dumps({**found, "commands": [1]}),
        lambda found: json.dumps({**found, "commands": {"a": 3}}),
        lambda found: json.dumps({**found, "entrants": [{"kind": "attack"}]}),
        lambda found: json.dumps({**found, "whole": "yes"}),
        lambda found: json.dumps({"fingerprint": found["fingerprint"]}),
    ],
)
def test_a_memory_that_is_damaged_is_none(here: Path, cache: Path, damage: Callable[[dict[str, object]], str]) -> None:
    remember(MEMORY)
    (file,) = cache.rglob("*.json")
    file.write_text(damage(json.loads(file.read_text())))
    assert recalled() is None
    assert App().memory.commands.keys() == {"stranger-hook", "stranger-point"}
    assert recalled() is not None, "written again"


def test_a_cache_that_cannot_be_written_is_no_complaint(
    here: Path, cache: Path, advbench: Advbench, tmp_path: Path
) -> None:
    cache.touch()
    done = advbench("--help", ADVBENCH_CACHE=str(cache))
    assert (done.code, done.err) == (0, "")
    assert "stranger-hook" in done.out


def test_no_run_believes_what_is_remembered(here: Path, cache: Path, advbench: Advbench) -> None:
    row = Row("attack", "pgd", "", "", "stranger", "1.0", "stranger")
    remember(Memory((row,), {"stranger-hook": "", "imagined": "Not there."}, whole=True))
    assert "imagined" in advbench("--help").out
    assert "pgd" in advbench("plugins").out
    for command in ("plan", "run"):
        assert "unknown attack 'pgd'" in advbench(command, "--attack", "pgd").err
    assert "no such command 'imagined'" in advbench("imagined").complaint
    assert "imagined" not in advbench("--help").out


def test_a_command_that_cannot_be_loaded_is_one_line_and_costs_the_others_nothing(
    here: Path, advbench: Advbench
) -> None:
    points = here / "stranger-1.0.dist-info/entry_points.txt"
    points.write_text("[advbench.commands]\nlost = nowhere_at_all:command\nstranger-point = stranger_plugin:pointed\n")
    assert "Can't be loaded: stranger 1.0" in advbench("--help", COLUMNS="200").out
    assert advbench("lost").complaint == (
        "stranger 1.0 (entry point lost): the command 'lost' can't be loaded: ModuleNotFoundError: "
        "No module named 'nowhere_at_all'"
    )
    assert advbench("stranger-point").out == "hello from the entry point\n"


def test_a_command_of_a_name_that_is_taken_is_broken(here: Path, advbench: Advbench) -> None:
    points = here / "stranger-1.0.dist-info/entry_points.txt"
    points.write_text(
        "[advbench]\nstranger = stranger_plugin\n[advbench.commands]\nrun = stranger_plugin:pointed\n"
        "render = stranger_plugin:pointed\nstranger-hook = stranger_plugin:pointed\n"
    )
    listed = advbench("plugins")
    assert listed.code == 1
    for name, entry in (("run", "run"), ("render", "render"), ("stranger-hook", "stranger")):
        assert f"broken: stranger 1.0 (entry point {entry}): the command '{name}' exists already" in listed.out
    assert advbench("stranger-hook").out == "hello from the entry point\n"
    assert "Run a suite" in advbench("run", "--help").out


def test_a_package_of_commands_alone_is_listed_and_known_to_check(here: Path, advbench: Advbench) -> None:
    points = here / "stranger-1.0.dist-info/entry_points.txt"
    points.write_text("[advbench.commands]\nstranger-point = stranger_plugin:pointed\n")
    for again in range(2):
        (row,) = [line for line in advbench("plugins").out.splitlines() if "stranger-point" in line]
        assert row.split() == ["command", "stranger-point", "stranger", "1.0", "From", "an", "entry", "point."], again
    for name in ("stranger", "stranger-point"):
        assert advbench("check", name).complaint == (
            "stranger 1.0 (entry point stranger-point) ships nothing that can be checked, but a command"
        )


def test_commands_by_the_hook_are_listed_with_who_shipped_them(here: Path, advbench: Advbench) -> None:
    rows = [line.split()[:4] for line in advbench("plugins").out.splitlines() if line.strip().startswith("command")]
    assert ["command", "stranger-hook", "stranger", "1.0"] in rows
    assert ["command", "stranger-point", "stranger", "1.0"] in rows


def test_an_application_is_a_group_of_commands(here: Path, advbench: Advbench) -> None:
    (here / "stranger_plugin.py").write_text(
        textwrap.dedent("""
            import typer
            app = typer.Typer(help="Several.")

            @app.command()
            def one():
                print("one")

            @app.command()
            def two():
                print("two")
        """)
    )
    points = here / "stranger-1.0.dist-info/entry_points.txt"
    points.write_text("[advbench.commands]\nstranger-many = stranger_plugin:app\n")
    assert advbench("stranger-many", "two").out == "two\n"
    assert "Several." in advbench("--help").out


def test_a_broken_plugin_is_tried_again_each_time(here: Path, advbench: Advbench) -> None:
    (here / "stranger_plugin.py").write_text(
        "import os\nif 'MENDED' not in os.environ:\n    raise OSError('not yet')\n"
    )
    points = here / "stranger-1.0.dist-info/entry_points.txt"
    points.write_text("[advbench]\nstranger = stranger_plugin\n")
    for _ in range(2):
        listed = advbench("plugins")
        assert (listed.code, "OSError: not yet" in listed.out) == (1, True)
    assert "it answers no hook" in advbench("plugins", MENDED="1").out


def test_plugins_lists_the_same_from_memory(cache: Path, advbench: Advbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVBENCH_PLUGINS", "builtin,advbench-toys")
    first = advbench("plugins")
    monkeypatch.setattr(App, "registry", property(lambda app: pytest.fail("discovered again")))
    assert advbench("plugins") == first
    assert first.code == 0
    assert "toy-doubting" in first.out


def test_advbench_asks_its_own_hook_for_no_command() -> None:
    """Else listing them would mean loading everything, on every machine."""
    from advbench.plugins.discovery import discover

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADVBENCH_PLUGINS", "builtin")
        own = discover().loaded
    assert [one.origin for one in own if one.manager.hook.advbench_commands.get_hookimpls()] == []
