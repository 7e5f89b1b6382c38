"""The folder of the site can be kept: the same state writes nothing, a new one what changed; strangers' files stay."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import jinja2
import pytest
from site_facts import fill

from advbench.errors import AdvbenchError
from advbench.store import Store
from advbench_leaderboard.render import render
from advbench_leaderboard.serve import server


@pytest.fixture
def database(tmp_path: Path) -> Path:
    fill(tmp_path / "results.sqlite")
    return tmp_path / "results.sqlite"


def stamps(root: Path) -> dict[str, tuple[bytes, int, int]]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(p.relative_to(root)): (p.read_bytes(), p.stat().st_mtime_ns, p.stat().st_ino) for p in files}


def rewritten(before: dict[str, tuple[bytes, int, int]], after: dict[str, tuple[bytes, int, int]]) -> set[str]:
    return {name for name in after if before.get(name) != after[name]}


def test_the_same_database_gives_the_same_bytes_and_rewrites_nothing(database: Path, tmp_path: Path) -> None:
    render(database, tmp_path / "site")
    before = stamps(tmp_path / "site")
    assert render(database, tmp_path / "site").changed == 0
    assert stamps(tmp_path / "site") == before
    render(database, tmp_path / "elsewhere")
    assert {n: s[0] for n, s in stamps(tmp_path / "elsewhere").items()} == {n: s[0] for n, s in before.items()}


def test_a_site_that_is_made_again_compiles_no_template(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render(database, tmp_path / "site")
    monkeypatch.setattr(jinja2.Environment, "compile", lambda *_: pytest.fail("a template is compiled again"))
    assert render(database, tmp_path / "elsewhere").changed > 0


def test_only_what_changed_is_rewritten(database: Path, tmp_path: Path) -> None:
    render(database, tmp_path / "site")
    before = stamps(tmp_path / "site")
    with Store.open(database) as store:
        store.add_note("strong", "randomised", "answers differ")
    render(database, tmp_path / "site")
    changed = rewritten(before, stamps(tmp_path / "site"))
    (board,) = [name for name in before if name.startswith("boards/")]
    (target,) = [name for name in before if name.startswith("targets/strong-")]
    (compared,) = [name for name in before if name.startswith("compare/")]
    shown = {board, target, compared, "index.html"}  # wherever its number stands
    assert changed == {*shown, "data/notes.csv", "data/notes.json", "downloads.html"}


def new_target(database: Path) -> None:
    with Store.open(database) as store:
        store.add_target(
            {"key": "new", "label": "newcomer", "model": "new", "defenses": "none", "dataset": "digits"}
            | {"data_fingerprint": "data"}
        )
        store.add_clean("new", [{"example": e, "label": 0, "predicted": 0} for e in range(40)])


def test_the_home_page_says_what_changed_and_goes_on_saying_it(database: Path, tmp_path: Path) -> None:
    render(database, tmp_path / "site")
    assert "previous state" not in (tmp_path / "site/index.html").read_text()
    new_target(database)
    render(database, tmp_path / "site")
    home = (tmp_path / "site/index.html").read_text()
    assert "previous state" in home
    assert "newcomer is new" in home
    before = stamps(tmp_path / "site")
    render(database, tmp_path / "site")
    assert stamps(tmp_path / "site") == before


def test_pages_that_no_longer_belong_go_and_strangers_files_stay(database: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    render(database, site)
    (site / "CNAME").write_text("example.org")
    (site / "boards/mine.html").write_text("mine")
    (tmp_path / "outside.html").write_text("outside")
    (site / "old").mkdir()
    (site / "old/page.html").write_text("ours, from an older version")
    state = json.loads((site / "state.json").read_text())
    state["files"] += ["old/page.html", "../outside.html", str(tmp_path / "outside.html"), "", "boards"]
    (site / "state.json").write_text(json.dumps(state))
    with pytest.raises(AdvbenchError, match="boards"):  # a folder is nothing that was written
        render(database, site)
    state["files"].remove("boards")
    (site / "state.json").write_text(json.dumps(state))
    render(database, site)
    assert not (site / "old").exists()
    assert (tmp_path / "outside.html").exists()
    assert (site / "CNAME").exists()
    assert (site / "boards/mine.html").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 3}', '{"files": [], "now": {"boards": {"x": 1}}}', "\xff"])
def test_a_broken_state_file_is_no_reason_to_fail(database: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/state.json").write_bytes(text.encode("latin-1"))
    render(database, tmp_path / "site")
    assert "previous state" not in (tmp_path / "site/index.html").read_text()


def test_a_copy_of_the_database_can_lie_beside_the_pages(database: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    render(database, site, with_database=True)
    assert 'href="data/results.sqlite"' in (site / "downloads.html").read_text()
    with sqlite3.connect(site / "data/results.sqlite") as copied:
        assert copied.execute("SELECT count(*) FROM targets").fetchone() == (5,)
    copied.close()
    assert [path.name for path in (site / "data").glob("results*")] == ["results.sqlite"]
    before = stamps(site)
    assert render(database, site, with_database=True).changed == 0
    assert stamps(site) == before
    render(database, site)
    assert not (site / "data/results.sqlite").exists()


def test_a_local_look_serves_this_machine_alone(database: Path, tmp_path: Path) -> None:
    render(database, tmp_path / "site")
    with server(tmp_path / "site", 0) as listening:
        assert listening.server_address[0] == "127.0.0.1"
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            address = f"http://127.0.0.1:{listening.server_port}"
            with urllib.request.urlopen(f"{address}/index.html", timeout=10) as answer:
                assert b"Robustness leaderboard" in answer.read()
            with pytest.raises(urllib.error.HTTPError, match="404") as missing:
                urllib.request.urlopen(f"{address}/../results.sqlite", timeout=10)
            missing.value.close()
            with pytest.raises(AdvbenchError, match="choose another with --port"):
                server(tmp_path / "site", listening.server_port)
        finally:
            listening.shutdown()
            thread.join()


def asked(port: int, request: bytes) -> bytes:
    """The first line of what the server answers to exactly these bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        return connection.makefile("rb").readline()


@pytest.mark.parametrize(
    ("line", "host", "code"),
    [
        ("GET /index.html HTTP/1.1", "127.0.0.1:{port}", b"200"),
        ("GET /index.html HTTP/1.1", "LocalHost:{port}", b"200"),
        ("GET /index.html HTTP/1.1", "[::1]:{port}", b"200"),
        ("GET /index.html HTTP/1.1", "evil.example:{port}", b"421"),
        ("GET /index.html HTTP/1.1", "127.0.0.1.evil.example:{port}", b"421"),
        ("GET /index.html HTTP/1.1", "127.0.0.1:1", b"421"),
        ("HEAD /index.html HTTP/1.1", "evil.example", b"421"),
        ("GET /index.html HTTP/1.1", "127.0.0.1:{port}\r\nHost: evil.example", b"421"),
        ("GET /index.html HTTP/1.1", None, b"421"),
        ("GET /%00 HTTP/1.1", "127.0.0.1:{port}", b"404"),
        ("GET /a%00b.html HTTP/1.1", "127.0.0.1:{port}", b"404"),
        ("GET /../results.sqlite HTTP/1.1", "127.0.0.1:{port}", b"404"),
        ("GET /%2e%2e/results.sqlite HTTP/1.1", "127.0.0.1:{port}", b"404"),
        ("GET //..//..//etc/passwd HTTP/1.1", "127.0.0.1:{port}", b"404"),
        (f"GET /{'a' * 5000} HTTP/1.1", "127.0.0.1:{port}", b"404"),
    ],
)
def test_only_who_asks_for_this_machine_by_its_name_is_answered(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], line: str, host: str | None, code: bytes
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("a page")
    (tmp_path / "results.sqlite").write_text("not a page")
    with server(tmp_path / "site", 0) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            port = listening.server_port
            head = f"Host: {host.format(port=port)}\r\n" if host else ""
            assert asked(port, f"{line}\r\n{head}\r\n".encode()).split()[1] == code
        finally:
            listening.shutdown()
            thread.join()
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_local_look_leaves_no_folder_behind_however_it_is_ended(
    database: Path, tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "temporary").mkdir()
    command = [sys.executable, "-m", "advbench", "serve", "--db", str(database), "--port", "0"]
    looking = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    )
    assert looking.stdout is not None
    with looking.stdout:
        assert looking.stdout.readline().startswith("http://127.0.0.1:")
        assert len(list((tmp_path / "temporary").iterdir())) == 1
        looking.send_signal(number)
        looking.wait(timeout=30)
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize("named", ["../mine.txt", "{absolute}", "elsewhere/mine.txt", "a\0b", "a" * 5000])
def test_nothing_outside_the_folder_is_removed_whatever_its_state_file_names(
    database: Path, tmp_path: Path, named: str
) -> None:
    site, mine = tmp_path / "site", tmp_path / "far" / "mine.txt"
    mine.parent.mkdir()
    for file in (mine, tmp_path / "mine.txt"):
        file.write_text("mine")
    render(database, site)
    (site / "elsewhere").symlink_to(mine.parent)
    state = json.loads((site / "state.json").read_text())
    state["files"].append(named.format(absolute=mine))
    (site / "state.json").write_text(json.dumps(state))
    render(database, site)
    assert mine.read_text() == (tmp_path / "mine.txt").read_text() == "mine"
    assert list(site.glob("boards/*.html"))


def test_pages_are_not_written_behind_a_link(database: Path, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "boards").symlink_to(tmp_path / "far")
    with pytest.raises(AdvbenchError, match="boards: a link to elsewhere"):
        render(database, tmp_path / "site")
    assert list((tmp_path / "far").iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_in_the_place_of_a_page_keeps_nobody_waiting(database: Path, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    for name in ("index.html", "state.json"):
        os.mkfifo(tmp_path / "site" / name)
    render(database, tmp_path / "site")
    assert "Robustness leaderboard" in (tmp_path / "site" / "index.html").read_text()
