"""Join all databases that are kept here into one, which `advbench render` makes pages of.

python results/join.py DATABASE
"""

from __future__ import annotations

import lzma
import sys
import tempfile
from pathlib import Path

from advbench.errors import AdvbenchError
from advbench.store import Store
from advbench.store.own import join_own

HERE = Path(__file__).parent


def join(database: Path, origin: Path = HERE) -> list[str]:
    """Names of what was joined. The database is made anew, unless the one that is there was not made by joining."""
    database.parent.mkdir(parents=True, exist_ok=True)
    marker = database.with_name(f"{database.name}.joined")
    if database.exists() and not marker.exists():
        raise AdvbenchError(f"{database} is there, and not from here: name another, or take it away")
    marker.touch()
    for end in ("", "-wal", "-shm"):
        database.with_name(f"{database.name}{end}").unlink(missing_ok=True)
    names = []
    with tempfile.TemporaryDirectory() as folder, Store.open(database) as store:
        for kept in sorted(origin.glob("*.sqlite.xz")):
            copy = Path(folder) / kept.name.removesuffix(".xz")
            with lzma.open(kept) as compressed:
                copy.write_bytes(compressed.read())
            Store.open(copy).close()  # brought up to date
            join_own(store, copy)
            names.append(kept.name.partition(".")[0])
    return names


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        found = join(Path(sys.argv[1]))
    except AdvbenchError as error:
        sys.exit(str(error))
    print(f"joined: {', '.join(found)}" if found else "there are no results yet; `python results/keep.py` keeps some")
