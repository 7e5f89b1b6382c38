"""The documentation runs, and nothing that a user can set is missing from it."""

from __future__ import annotations

import ast
import re
import shlex
import sys
import tomllib
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import attack_table
import pytest

import advbench
from advbench import hooks
from advbench.store import Store
from advbench.suite.board import BOARD_KEYS
from advbench.suite.suite import KEYS

ROOT = Path(__file__).parents[2]
ACME = ROOT / "tests/acme"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
REFERENCE = ROOT / "docs/reference.md"
FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VARIABLE = re.compile(r"\bADVBENCH_[A-Z]+\b")


@dataclass(frozen=True)
class Snippet:
    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.line}"


def snippets(*languages: str) -> list[Snippet]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for fence in FENCE.finditer(text):
            line = text.count("\n", 0, fence.start()) + 2
            found.append(Snippet(page, line, fence[1], fence[2]))
    return [snippet for snippet in found if not languages or snippet.language in languages]


def each(*languages: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("snippet", snippets(*languages), ids=lambda snippet: snippet.place)


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The sample package, as if it were installed."""
    project = tomllib.loads((ACME / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    metadata = tmp_path / "installed" / "advbench_acme-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    with (metadata / "entry_points.txt").open("w") as file:
        for group, points in project["entry-points"].items():
            file.writelines([f"[{group}]\n", *(f"{name} = {target}\n" for name, target in points.items())])
    monkeypatch.syspath_prepend(str(ACME))
    monkeypatch.syspath_prepend(str(metadata.parent))
    yield
    sys.modules.pop("advbench_acme", None)


@pytest.fixture
def command_line(acme: None) -> Any:
    """The whole command line, with the commands that plugins add, as click sees it."""
    from advbench.cli import command_line
    from advbench.cli.app import App

    app = App()
    assert [str(broken) for broken in app.registry.broken] == []
    return command_line(app)


def test_every_snippet_is_of_a_kind_that_is_checked() -> None:
    kinds = {"console", "python", "toml", "yaml"}
    assert [s.place for s in snippets() if s.language not in kinds] == []
    fences = sum(page.read_text(encoding="utf-8").count("```") for page in PAGES)
    assert fences == 2 * len(snippets())


@pytest.mark.parametrize("page", sorted({s.page for s in snippets("python")}), ids=lambda page: page.name)
def test_python_runs_from_top_to_bottom(
    page: Path, acme: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("snippets")
    monkeypatch.setitem(sys.modules, "snippets", module)
    for snippet in snippets("python"):
        if snippet.page == page:
            code = "\n" * (snippet.line - 1) + snippet.text  # so that a traceback names the page's own line
            exec(compile(code, str(page), "exec"), vars(module))


@each("yaml")
def test_suites_load(snippet: Snippet, acme: None, tmp_path: Path) -> None:
    from advbench.plugins.discovery import discover
    from advbench.suite.suite import load_suite

    file = tmp_path / "suite.yaml"
    file.write_text(snippet.text, encoding="utf-8")
    assert load_suite(str(file), discover()).boards


@each("toml")
def test_toml_is_the_sample_package_s(snippet: Snippet) -> None:
    assert snippet.text == (ACME / "pyproject.toml").read_text(encoding="utf-8")


@each("console")
def test_commands_and_their_options_exist(snippet: Snippet, command_line: Any) -> None:
    entered = [line.removeprefix("$ ") for line in snippet.text.splitlines() if line.startswith("$ ")]
    assert entered, "no line begins with `$ `"
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for line in entered:
        words = shlex.split(re.split(r"\s[>|]\s", line)[0], comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        program, *arguments = words
        if program == "make":
            assert [word for word in arguments if "=" not in word and word not in targets] == []
        elif program == "advbench":
            name, *arguments = arguments
            assert name in command_line.list_commands(None), f"no such command: {line}"
            command_line.resolve_command(None, [name])[1].make_context(name, arguments)
        elif program == "sqlite-utils":
            with Store.memory() as store:
                assert store.rows(arguments[2]) == []
        else:
            assert program in {"cd", "git", "pip", "ray"}, f"nobody checks: {line}"


def test_the_sample_package_is_the_one_that_the_page_shows() -> None:
    shown = statements(s.text for s in snippets("python") if s.page.name == "write-a-plugin.md")
    files = [ACME / "advbench_acme.py", ACME / "tests/test_acme.py"]
    written = statements(file.read_text(encoding="utf-8") for file in files)
    assert [text for text in shown if text not in written] == []
    assert [text for text in written if text not in shown] == []


def statements(sources: Any) -> list[str]:
    """Classes, functions and constants; each page section has imports of its own."""
    trees = [node for source in sources for node in ast.parse(source).body]
    no = (ast.Import, ast.ImportFrom, ast.Expr)
    return [ast.unparse(node) for node in trees if not isinstance(node, no)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_lines_of_prose_are_wrapped(page: Path) -> None:
    """So that a change of a sentence is a change of its lines; tables and HTML stand as they must."""
    prose = FENCE.sub(lambda fence: "\n" * fence[0].count("\n"), page.read_text(encoding="utf-8"))
    lines = [
        (place, line) for place, line in enumerate(prose.splitlines(), 1) if not line.lstrip().startswith(("|", "<"))
    ]
    assert [f"{page.name}:{place}: {len(line)} columns" for place, line in lines if len(line) > 120] == []


def test_every_hook_is_documented() -> None:
    known = {name for name in vars(hooks) if name.startswith("advbench_")}
    assert set(re.findall(r"^\| `(advbench_\w+)\(", section("Hooks"), re.MULTILINE)) == known


def test_everything_that_a_plugin_can_import_is_documented_where_its_author_looks() -> None:
    page = (ROOT / "docs/write-a-plugin.md").read_text(encoding="utf-8")
    code = [*re.findall(r"`([^`\n]+)`", page), *(snippet[2] for snippet in FENCE.finditer(page))]
    written = {word for text in code for word in re.findall(r"\w+", text)}
    assert [name for name in advbench.__all__ if name not in written] == []


def test_every_key_of_a_suite_is_documented() -> None:
    suite, board = re.split(r"^### .*$", section("Suites"), flags=re.MULTILINE)
    assert rows(suite) == set(KEYS)
    assert rows(board) == set(BOARD_KEYS)


def test_the_table_of_attacks_says_what_they_declare() -> None:
    page = attack_table.DOCUMENT.read_text(encoding="utf-8")
    written = page.split(attack_table.BEGIN)[1].split(attack_table.END)[0]
    assert written == attack_table.table(), "python tests/attack_table.py writes it"


@pytest.mark.parametrize("kind", ["attack", "model", "defense", "data set"])
def test_every_built_in_entrant_is_in_the_first_table_of_its_page(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from advbench.plugins.discovery import discover

    monkeypatch.setenv("ADVBENCH_PLUGINS", "builtin")
    page = ROOT / "docs" / f"{kind.replace(' ', '')}s" / "README.md"
    opening = page.read_text(encoding="utf-8").partition("\n## ")[0]
    names = 2 if kind == "attack" else 1  # the column after the families', and the first
    columns = [line.split("|")[names] for line in opening.splitlines() if line.startswith("|")]
    listed = {name for column in columns for name in re.findall(r"`(.+?)`", column)}
    assert listed == {entrant.name for entrant in discover().of_kind(kind).values()}


def test_every_environment_variable_is_documented() -> None:
    folders = [ROOT / "benchmark", ROOT / "plugins", ROOT / "leaderboard", ROOT / "tests"]
    files = [path for folder in folders for path in folder.rglob("*.py")] + [ROOT / "Makefile", ROOT / ".ci/run"]
    read = {name for file in files if file.exists() for name in VARIABLE.findall(file.read_text(encoding="utf-8"))}
    assert rows(section("Environment variables")) == read


def test_every_command_and_option_is_documented(command_line: Any) -> None:
    known = {
        name: {
            opt
            for parameter in command_line.get_command(None, name).params
            for opt in parameter.opts
            if opt.startswith("--")
        }
        for name in command_line.list_commands(None)
        if not name.startswith("acme-")
    }
    parts = re.split(r"^### `advbench (\S+)[^`]*`$", section("Commands"), flags=re.MULTILINE)[1:]
    documented = {
        name: {row for row in rows(text) if row.startswith("--")}
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    }
    assert set(documented) == set(known)
    assert {name: options ^ known[name] for name, options in documented.items() if options != known[name]} == {}


def rows(text: str) -> set[str]:
    """What the rows of the tables there begin with."""
    return set(re.findall(r"^\| `([\w-]+)", text, re.MULTILINE))


def section(title: str) -> str:
    """A second-level section of the reference."""
    parts = re.split(r"^## (.+)$", REFERENCE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[title]
