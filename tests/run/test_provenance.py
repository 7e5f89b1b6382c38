"""What is kept of how a run was made tells nobody where data lie."""

from __future__ import annotations

import pytest

from advbench.run.provenance import without_data_folders


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("advbench run s.yaml --data '/home/me/my photos' --offline", "advbench run s.yaml --offline"),
        ("advbench run --data=/home/me --data b s.yaml", "advbench run s.yaml"),
        ("advbench run 'a suite.yaml' --examples 4", "advbench run 'a suite.yaml' --examples 4"),
        ("", ""),
    ],
)
def test_folders_of_data_are_left_out(typed: str, kept: str) -> None:
    assert without_data_folders(typed) == kept
