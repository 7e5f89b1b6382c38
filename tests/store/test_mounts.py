"""A database that other machines can open is written without the memory that only one machine's processes share."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from advbench.errors import AdvbenchError
from advbench.store import Store, mounts
from advbench.store.connection import in_words

LINE = "{number} 1 0:{number} / {point} rw,relatime shared:7 - {kind} server:/export rw,vers=4.2"


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder called `far away`, on nfs4 as the system says; what lies in it, on a disk."""
    table = tmp_path / "mountinfo"
    far = tmp_path / "far away"
    (far / "disk").mkdir(parents=True)
    points = [("/", "ext4"), (far / "disk", "cifs"), (far, "nfs4"), (far / "disk", "xfs"), ("/elsewhere", "lustre")]
    written = [
        LINE.format(number=place, point=str(point).replace(" ", r"\040"), kind=kind)
        for place, (point, kind) in enumerate(points)
    ]
    table.write_text("\n".join([*written, "a line that nobody understands", ""]))
    monkeypatch.setattr(mounts, "TABLE", table)
    return far


def journal(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def test_the_longest_mount_point_counts_and_of_two_the_later_one(mounted: Path, tmp_path: Path) -> None:
    assert mounts.network(mounted / "new/results.sqlite") == "nfs4"
    assert mounts.network(mounted / "disk/results.sqlite") is None
    assert mounts.network(tmp_path / "results.sqlite") is None
    assert mounts.network(mounted.with_name("far away too")) is None
    link = tmp_path / "link"
    link.symlink_to(mounted)
    assert mounts.network(link / "results.sqlite") == "nfs4", "where it really lies"


@pytest.mark.parametrize(
    ("kind", "far"),
    [("ext4", False), ("overlay", False), ("tmpfs", False), ("fuseblk", False), ("fuse.fuse-overlayfs", False)]
    + [(kind, True) for kind in ("nfs", "cifs", "smb3", "lustre", "gpfs", "beegfs", "9p", "fuse.sshfs", "fuse.s3fs")],
)
def test_which_file_systems_others_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, far: bool
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(LINE.format(number=1, point="/", kind=kind))
    monkeypatch.setattr(mounts, "TABLE", table)
    assert mounts.network(tmp_path / "results.sqlite") == (kind if far else None)


def test_a_system_that_tells_nothing_is_taken_for_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "TABLE", tmp_path / "nothing")
    assert mounts.network(tmp_path) is None
    with Store.open(tmp_path / "results.sqlite") as store:
        assert store.rows("PRAGMA journal_mode") == [{"journal_mode": "wal"}]


def test_on_a_network_nothing_is_written_ahead(mounted: Path, tmp_path: Path) -> None:
    far, near = mounted / "results.sqlite", tmp_path / "results.sqlite"
    for path, mode, effort in ((far, "delete", 2), (near, "wal", 1)):
        with Store.open(path) as store:
            assert store.rows("PRAGMA journal_mode") == [{"journal_mode": mode}]
            assert store.rows("PRAGMA synchronous") == [{"synchronous": effort}]
            store.begin_run({"id": "run"})
            assert not path.with_name(f"{path.name}-wal").exists() or mode == "wal"
    shutil.copy(near, far)  # made on a disk, and copied there
    assert journal(far) == "wal"
    with Store.open(far) as store:
        assert len(store.rows("SELECT id FROM runs")) == 1
    assert journal(far) == "delete"
    with Store.open(far, readonly=True) as store:
        assert len(store.rows("SELECT id FROM runs")) == 1


def failing(path: Path) -> None:
    with in_words(path):
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error


def test_a_file_that_can_t_be_locked_there_says_where_to_put_it(mounted: Path, tmp_path: Path) -> None:
    with pytest.raises(AdvbenchError, match="it lies on nfs4, which may not lock files: name one on a disk"):
        failing(mounted / "results.sqlite")
    with pytest.raises(AdvbenchError, match="check the disk, then run again"):
        failing(tmp_path / "results.sqlite")
