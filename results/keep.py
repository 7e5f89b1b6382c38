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

HERE = Path(__file__).parent


def keep(name: str, database: Path) -> Path:
    """A copy without the free pages of the original, compressed; the original stays as it is."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.sqlite"
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("VACUUM INTO ?", (str(copy),))
        out = HERE / f"{name}.sqlite.xz"
        out.write_bytes(lzma.compress(copy.read_bytes(), preset=9 | lzma.PRESET_EXTREME))
        return out


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    kept = keep(sys.argv[1], Path(sys.argv[2]))
    print(f"{kept.name}: {kept.stat().st_size / 1e6:.1f} MB")
