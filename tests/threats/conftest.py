"""The distribution of two more balls, found as if it were installed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from advbench.plugins.discovery import discover
from advbench.plugins.registry import Registry

SOURCE = Path(__file__).parents[2] / "plugins/threats/advbench_threats"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The distribution's sources in a folder of their own, where a test may change them, with pip's metadata."""
    home = tmp_path_factory.mktemp("threats")
    shutil.copytree(SOURCE, home / "advbench_threats", ignore=shutil.ignore_patterns("__pycache__"))
    metadata = home / "advbench_threats-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: advbench-threats\nVersion: 0.1.0\n")
    (metadata / "entry_points.txt").write_text("[advbench]\nmore-threats = advbench_threats\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(home))
        yield home
    for name in [name for name in sys.modules if name.partition(".")[0] == "advbench_threats"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def registry(installed: Path) -> Registry:
    return discover()
