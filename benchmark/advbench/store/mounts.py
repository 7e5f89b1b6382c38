"""On what kind of file system a file lies, as far as the system tells."""

from __future__ import annotations

import os
import re
from pathlib import Path

TABLE = Path("/proc/self/mountinfo")
"""Linux's own list; elsewhere nothing is known."""
NETWORKS = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "virtiofs", "vboxsf", "ceph", "glusterfs"),
        *("lustre", "gpfs", "beegfs", "panfs", "pvfs2", "orangefs", "wekafs", "ocfs2", "gfs2"),
    )
)
LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs"})


def network(path: Path) -> str | None:
    """The kind of file system that other machines may write to as well; None where it is this one's alone.

    What a program serves (FUSE) counts as such: sshfs, s3fs, gcsfuse, rclone and the like do.
    """
    try:
        with open(TABLE, encoding="utf-8", errors="surrogateescape") as table:  # noqa: PTH123
            lines = table.read().splitlines()
        place = Path(os.path.realpath(path.absolute()))
    except OSError:
        return None
    kind, longest = "", -1
    for line in lines:
        before, _, after = line.partition(" - ")
        if len(words := before.split()) < 5 or not after:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), words[4]))
        # of two at one point the later one hides the other
        if len(point.parts) >= longest and place.is_relative_to(point):
            kind, longest = after.split()[0], len(point.parts)
    served = (kind == "fuse" or kind.startswith("fuse.")) and kind not in LOCAL_FUSE
    return kind if kind in NETWORKS or served else None
