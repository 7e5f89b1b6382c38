"""What readers may download: a module a subject, and in it each table with its columns and their meaning."""

from __future__ import annotations

from advbench_leaderboard.tables.records import CELLS, DATASETS, PLUGINS, RUNS, SKIPS, TARGETS
from advbench_leaderboard.tables.standings import BOARDS, DIFFERENCES, EARLIER, ELSEWHERE, ENTRIES, NOTES
from advbench_leaderboard.tables.studies import CLAIMS, FINDINGS, POINTS, PUBLISHED, STUDIES
from advbench_leaderboard.tables.verdicts import ATTACKS, CLASSES, CURVES, DETECTORS, TRANSFER

TABLES = (
    BOARDS,
    ENTRIES,
    ATTACKS,
    TRANSFER,
    TARGETS,
    CELLS,
    EARLIER,
    SKIPS,
    NOTES,
    ELSEWHERE,
    CURVES,
    RUNS,
    DIFFERENCES,
    DETECTORS,
    CLASSES,
    DATASETS,
    PLUGINS,
    STUDIES,
    PUBLISHED,
    CLAIMS,
    FINDINGS,
    POINTS,
)
"""In the order in which they are offered."""
