"""Compress a database of a study as `results/NAME.sqlite.xz`: facts and findings, no perturbations.

python results/keep.py NAME DATABASE
"""

from __future__ import annotations

import lzma
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from advbench.errors import AdvbenchError
from advbench.store import Store
from advbench.store.study_rows import performed

HERE = Path(__file__).parent


def keep(name: str, database: Path, into: Path = HERE) -> Path:
    """A copy without the free pages of the original, compressed; the original stays as it is."""
    if not name or Path(name).name != name:
        raise AdvbenchError(f"{name}: give the name of a study, not a path")
    with Store.open(database, readonly=True) as store:
        if not performed(store):
            raise AdvbenchError(f"{database} holds no study; `advbench study NAME --db {database}` performs one")
    with tempfile.TemporaryDirectory(dir=into) as folder:
        copy, compressed = Path(folder) / "copy.sqlite", Path(folder) / "copy.xz"
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("VACUUM INTO ?", (str(copy),))
        compressed.write_bytes(lzma.compress(copy.read_bytes(), preset=9 | lzma.PRESET_EXTREME))
        return compressed.replace(into / f"{name}.sqlite.xz")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        kept = keep(sys.argv[1], Path(sys.argv[2]))
    except AdvbenchError as error:
        sys.exit(str(error))
    print(f"{kept.name}: {kept.stat().st_size / 1e6:.1f} MB")
