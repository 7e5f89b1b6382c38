"""Templates are compiled once and kept where nobody else can write, and pages come without that, too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from jinja2 import Environment, PackageLoader
from jinja2.bccache import Bucket
from site_facts import fill

from advbench_leaderboard import compiled, markup
from advbench_leaderboard import render as rendering
from advbench_leaderboard.compiled import Compiled, folder
from advbench_leaderboard.render import render

TEMPLATES = ("layout.html.j2", "unreadable.html.j2")


class Counting(Compiled):
    """As a process of its own has it: knows nothing but what lies in the cache."""

    compiled = 0

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.compiled += 1
        super().dump_bytecode(bucket)


def compiled_anew() -> int:
    """How many templates another process would compile."""
    code = Counting()
    code.recall()
    templates = Environment(loader=PackageLoader("advbench_leaderboard"), bytecode_cache=code)
    for name in TEMPLATES:
        templates.get_template(name)
    code.keep()
    return code.compiled


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVBENCH_CACHE", str(tmp_path / "cache"))


def kept() -> Path:
    (file,) = folder().iterdir()
    return file


def test_a_template_is_compiled_once_for_all_processes() -> None:
    assert compiled_anew() == len(TEMPLATES)
    assert folder().stat().st_mode & 0o777 == 0o700
    assert compiled_anew() == 0


@pytest.mark.parametrize("content", [b"", b"\0" * 100, "half"])
def test_what_is_no_such_file_is_never_loaded(content: bytes | str) -> None:
    compiled_anew()
    whole = kept().read_bytes()
    kept().write_bytes(content if isinstance(content, bytes) else whole[: len(whole) // 2])
    assert compiled_anew() == len(TEMPLATES)
    assert compiled_anew() == 0


def test_what_others_may_have_written_is_never_loaded() -> None:
    compiled_anew()
    folder().chmod(0o777)
    before = kept().read_bytes()
    assert compiled_anew() == len(TEMPLATES)
    assert kept().read_bytes() == before  # nor does anything of ours go there
    folder().rename(folder().with_name("elsewhere"))
    folder().with_name("elsewhere").chmod(0o700)
    folder().symlink_to("elsewhere")
    assert compiled_anew() == len(TEMPLATES)


def test_pages_come_where_nobody_has_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVBENCH_CACHE", "~nobody-of-that-name/cache")
    assert compiled_anew() == len(TEMPLATES)
    assert compiled_anew() == len(TEMPLATES)


def test_pages_come_where_nothing_can_be_kept(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder belongs")
    assert compiled_anew() == len(TEMPLATES)
    assert compiled_anew() == len(TEMPLATES)


def test_what_other_sources_compiled_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "package/filters.py"
    source.parent.mkdir()
    source.touch()
    monkeypatch.setattr(compiled, "HERE", source.parent)
    compiled_anew()
    assert compiled_anew() == 0
    os.utime(source, ns=(1, 1))
    assert compiled_anew() == len(TEMPLATES)


def test_a_site_is_the_same_from_kept_templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "results.sqlite")
    counts, sites = [], []
    for _ in range(2):
        code = Counting()
        for module in (rendering, markup):
            monkeypatch.setattr(module, "COMPILED", code)
        root = tmp_path / f"site{len(sites)}"
        render(tmp_path / "results.sqlite", root)
        counts.append(code.compiled)
        sites.append({path.relative_to(root): path.read_bytes() for path in root.rglob("*.*")})
    assert sites[0] == sites[1]
    assert counts[0] > 10
    assert counts[1] == 0
