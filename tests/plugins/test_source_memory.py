"""What runs remember of source files: never believed of a file that may have changed, nor of somebody else's word."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from forgetting import forget_sources

from advbench.plugins import source_memory, sources
from advbench.plugins.source_memory import Facts, Import, SourceMemory, mark_of
from advbench.plugins.sources import core_digest, source_digest
from advbench_attacks.pgd import PGD

FACTS = Facts("d" * 64, (Import("a.b"), Import("c", 2, ("x", "y"))))


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADVBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(source_memory, "SETTLED", -1)
    path = tmp_path / "source.py"
    path.write_text("A = 1\n")
    return path


def memory() -> SourceMemory:
    return SourceMemory(Path(source_memory.__file__))


def kept(source: Path) -> Path:
    one = memory()
    one.learn(source, mark_of(source), FACTS)
    one.keep()
    (place,) = (source.parent / "cache" / "sources").iterdir()
    return place


def recalled(source: Path) -> Facts | None:
    one = memory()
    one.recall()
    return one.known(source, mark_of(source))


def test_what_was_read_is_known_to_the_next_run_who_asks_and_to_nobody_else(source: Path) -> None:
    place = kept(source)
    assert recalled(source) == FACTS
    assert memory().known(source, mark_of(source)) is None, "who does not recall, reads"
    assert place.stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_changed_is_not_known_even_with_its_size_and_time_put_back(source: Path) -> None:
    before = source.stat()
    kept(source)
    time.sleep(0.02)
    source.write_text("A = 2\n")
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert recalled(source) is None


def test_a_file_that_was_just_changed_is_not_remembered(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_memory, "SETTLED", 2_000_000_000)
    one = memory()
    one.learn(source, mark_of(source), FACTS)
    one.keep()
    assert not (source.parent / "cache").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"a": 1}', b"[[" * 100_000, b"\xff", b'[["a",[1],2,[]]]'])
def test_a_memory_that_is_damaged_is_none(source: Path, content: bytes) -> None:
    kept(source).write_bytes(content)
    assert recalled(source) is None


def test_a_memory_of_other_forms_is_none(source: Path) -> None:
    place = kept(source)
    rows = json.loads(place.read_bytes())
    for change in ({2: 7}, {1: ["1", "2", "3", "4"]}, {3: [[1, 0, []]]}, {3: [["a", "b", []]]}):
        damaged = [[change.get(number, part) for number, part in enumerate(row)] for row in rows]
        place.write_text(json.dumps(damaged))
        assert recalled(source) is None


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="rights are those of POSIX")
@pytest.mark.parametrize("rights", [0o620, 0o602])
def test_a_memory_that_others_can_write_is_not_believed(source: Path, rights: int) -> None:
    kept(source).chmod(rights)
    assert recalled(source) is None


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root gives files away")
def test_a_memory_of_another_user_is_not_believed(source: Path) -> None:
    os.chown(kept(source), 12345, -1)
    assert recalled(source) is None


def test_a_cache_that_can_not_be_written_is_no_obstacle(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVBENCH_CACHE", str(source / "under-a-file"))
    one = memory()
    one.learn(source, mark_of(source), FACTS)
    one.keep()
    one.recall()


def test_digests_are_the_same_from_memory_and_no_file_is_read_for_them(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digests() -> tuple[str, str]:
        forget_sources()
        return source_digest(PGD), core_digest()

    monkeypatch.setattr(sources, "_MEMORY", memory())
    read = digests()
    sources.remember()
    monkeypatch.setattr(sources, "_MEMORY", memory())
    sources.recall()
    monkeypatch.setattr(sources, "_read", lambda path: pytest.fail(f"{path} was read"))
    assert digests() == read
    monkeypatch.undo()
    assert digests() == read
