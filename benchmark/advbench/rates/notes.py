"""Flags that the facts themselves raise on a target, beside those that the harness stored; reads the store, no torch.

Each is a sign that a number may say more about the attacks than about the target. Chosen: paired tests at 5 %, so that
chance raises a flag rarely; "more steps" is flagged only where it fools significantly less, because an attack that has
converged gains nothing from more; a detector is flagged from twice the asked rate on.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from advbench.rates import evidence
from advbench.rates.evidence import Evidence
from advbench.rates.uncertainty import SIGNIFICANT, paired, wilson
from advbench.store import Store

EFFORT = ("steps", "restarts", "queries", "tries")
"""Parameters of which more is never meant to fool less."""
CONTRADICTED = "contradicted elsewhere"
NOT_REQUIRED = "stronger attack not required"
LISTED = 4
"""How many attacks are named in a reason at most."""
FAR = 2.0
"""False alarms are far above what was asked from so many times on."""


@dataclass(frozen=True, order=True)
class Note:
    """A flag on a target's row of one board."""

    board: str
    target: str
    kind: str
    reason: str
    cell: str = ""
    """The cell that it speaks of, where it is one that does not count on the board."""


@dataclass(frozen=True)
class _Behind:
    """A required attack of a target that has right answers which nothing proves."""

    board: str
    target: str
    entrant: str
    far: bool
    """It finds what gradients at the image don't lead to."""


@dataclass(frozen=True)
class _Attacked:
    """What a cell did to its own target on a board."""

    board: str
    target: str
    entrant: str
    fooled: int
    n: int
    cell: str
    needs: str | None
    attack: str
    attack_params: Mapping[str, Any] | None


@dataclass(frozen=True)
class _Outcome:
    example: int
    fooled: bool | None


@dataclass(frozen=True)
class _Right:
    board: str
    target: str
    right: int
    n: int


@dataclass(frozen=True)
class _Unbroken:
    board: str
    target: str
    data_fingerprint: str
    n: int
    unbroken: int


@dataclass(frozen=True)
class _Alarms:
    board: str
    target: str
    alarms: int
    n: int
    asked: float | None


def computed(store: Store, apart: Iterable[Evidence] | None = None) -> list[Note]:
    """All notes that the facts raise; quickest within `store.tallied()`, and with the evidence that is known."""
    raised = (_weak_evidence, _from_attacks, _huge_radius, _unbroken_examples, _false_alarms)
    all_notes = [note for notes_of in raised for note in notes_of(store)]
    return sorted([*all_notes, *_contradictions(evidence.gather(store) if apart is None else apart)])


def notes(store: Store, apart: Iterable[Evidence] | None = None) -> list[Note]:
    """What the harness stored, which holds on every board of its target, then what each board's own facts raise."""
    kept = store.read(
        Note,
        """
        SELECT b.key AS board, t.key AS target, n.kind, n.reason, '' AS cell FROM notes n
        JOIN targets t ON t.id = n.target JOIN boards b ON b.data_fingerprint = t.data_fingerprint
        ORDER BY n.kind, n.reason
        """,
    )
    return [*kept, *computed(store, apart)]


def _weak_evidence(store: Store) -> Iterator[Note]:
    """Right answers that no attack has tried to change but along gradients, or by chance.

    Cells that are older than the declaration count as such where their attack asked for gradients, or for labels, as
    noise does. What is proved needs no attack.
    """
    behind: dict[tuple[str, str], list[_Behind]] = defaultdict(list)
    for row in store.read(
        _Behind,
        """
        SELECT r.board, r.target, r.entrant, coalesce(
            c.beyond_gradients, c.needs NOT LIKE '%gradients%' AND c.needs NOT IN ('labels', 'nothing'), 0
          ) AS far
        FROM required_cells r JOIN cells c ON c.id = r.cell_id
        JOIN robust_accuracy a ON a.board = r.board AND a.target = r.target
        LEFT JOIN certified p ON p.board = r.board AND p.target = r.target
        WHERE a.right > coalesce(p.right, 0) ORDER BY r.board, r.target, r.entrant
        """,
    ):
        behind[row.board, row.target].append(row)
    for (board, target), rows in behind.items():
        if not any(row.far for row in rows):
            stand = "stands" if len(rows) == 1 else "stand"
            reason = (
                f"only {_enumerate(row.entrant for row in rows)} {stand} behind the robust accuracy, "
                "and no attack that finds what gradients at the image don't lead to"
            )
            yield Note(board, target, "weak evidence", reason)


def _enumerate(names: Iterable[str]) -> str:
    first = list(names)
    shown = [*first[:LISTED], *([f"{len(first) - LISTED} more"] if len(first) > LISTED else [])]
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def _from_attacks(store: Store) -> Iterator[Note]:
    """Black-box stronger than white-box, and more steps weaker."""
    rows: dict[tuple[str, str], list[_Attacked]] = defaultdict(list)
    for row in store.read(
        _Attacked,
        """
        SELECT r.board, r.target, r.entrant, r.fooled, r.n, r.cell, c.needs, c.attack, c.attack_params
        FROM rates r JOIN cells c ON c.key = r.cell
        WHERE r.own AND r.goal = 'untargeted' AND r.n > 0 ORDER BY r.board, r.target, r.fooled DESC, r.entrant
        """,
    ):
        rows[row.board, row.target].append(row)
    for attacked in rows.values():
        yield from _black_box(store, attacked)
        yield from _more_is_weaker(store, attacked)


def _black_box(store: Store, rows: list[_Attacked]) -> Iterator[Note]:
    white = next((row for row in rows if row.needs and "gradients" in row.needs), None)
    black = next((row for row in rows if row.needs and "gradients" not in row.needs), None)
    if white and black and _stronger(store, black, white):
        reason = f"{_sentence(black)} without gradients, {_sentence(white)} with them: gradients may mislead here"
        yield Note(black.board, black.target, "black-box stronger than white-box", reason)


def _more_is_weaker(store: Store, rows: list[_Attacked]) -> Iterator[Note]:
    named: dict[str, list[_Attacked]] = defaultdict(list)
    for row in rows:
        named[row.attack.partition("(")[0]].append(row)
    for few, many in (pair for alike in named.values() for pair in permutations(alike, 2)):
        if few.fooled > many.fooled:
            effort = _only_more(few, many)
            if effort and _stronger(store, few, many):
                reason = f"{_sentence(many)}, {_sentence(few)}: more {effort} fool less"
                yield Note(few.board, few.target, f"more {effort} not stronger", reason)
                return  # one pair says it


def _only_more(few: _Attacked, many: _Attacked) -> str | None:
    """The one parameter of effort in which they differ, where `many` has more of it."""
    a, b = few.attack_params or {}, many.attack_params or {}
    if a.keys() != b.keys():
        return None
    different = [name for name in a if a[name] != b[name]]
    if len(different) != 1 or different[0] not in EFFORT:
        return None
    values = a[different[0]], b[different[0]]
    numbers = all(isinstance(value, int | float) for value in values)
    return different[0] if numbers and values[0] < values[1] else None


def _stronger(store: Store, a: _Attacked, b: _Attacked) -> bool:
    """Whether cell a fools significantly more examples of its own target than cell b, both judged by the board."""
    if a.fooled <= b.fooled:
        return False
    on_a, on_b = (_fooled_by_example(store, row) for row in (a, b))
    both = sorted(on_a.keys() & on_b.keys())
    verdicts_a, verdicts_b = [on_a[e] for e in both], [on_b[e] for e in both]
    return sum(verdicts_a) > sum(verdicts_b) and paired(verdicts_a, verdicts_b) < SIGNIFICANT


def _fooled_by_example(store: Store, row: _Attacked) -> dict[int, bool]:
    sql = "SELECT example, fooled FROM judged_outcomes WHERE board = ? AND cell = ? AND target = ?"
    return {
        outcome.example: bool(outcome.fooled) for outcome in store.read(_Outcome, sql, row.board, row.cell, row.target)
    }


def _huge_radius(store: Store) -> Iterator[Note]:
    """Where the ball of every image holds the grey one, a classifier can be right on one class at most."""
    datasets = _datasets(store)
    robust: dict[str, list[_Right]] = defaultdict(list)
    for row in store.read(_Right, "SELECT board, target, right, n FROM robust_accuracy WHERE n > 0"):
        robust[row.board].append(row)
    for board in store.boards():
        shape, classes = datasets.get(board.data_fingerprint, ((), 0))
        grey = {"linf": 0.5, "l2": 0.5 * math.sqrt(math.prod(shape))}.get(board.family)
        if grey is None or not classes or board.eps < grey:
            continue
        for row in robust[board.key]:
            if wilson(row.right, row.n)[0] > 1 / classes:
                reason = (
                    f"right on {row.right} of {row.n} although every image may become plain grey, "
                    f"where no classifier is right on more than about 1 of {classes}: the attacks are too weak for it"
                )
                yield Note(board.key, row.target, "huge radius not near 0 %", reason)


def _unbroken_examples(store: Store) -> Iterator[Note]:
    """Examples that no minimal-norm attack with gradients fooled at any size."""
    datasets = _datasets(store)
    for row in store.read(
        _Unbroken,
        """
        WITH own AS MATERIALIZED (
          SELECT b.board, b.source AS target, b.source_id, b.cell_id, c.family
          FROM board_cells b JOIN cells c ON c.id = b.cell_id
          WHERE b.minimizes AND b.current AND b.judged AND b.goal = 'untargeted' AND c.needs LIKE '%gradients%'
            AND c.family IN ('linf', 'l2')
        ), examples AS (
          SELECT w.board, w.target, o.example, max(o.predicted <> c.label AND o.violation IS NULL) AS broken
          FROM own w
          CROSS JOIN outcomes o ON o.cell = w.cell_id AND o.target = w.source_id
          CROSS JOIN clean c ON c.target = o.target AND c.example = o.example
          WHERE c.predicted = c.label GROUP BY w.board, w.target, o.example
        )
        SELECT e.board, e.target, b.data_fingerprint, count(*) AS n, count(*) - sum(e.broken) AS unbroken
        FROM examples e JOIN boards b ON b.key = e.board GROUP BY e.board, e.target
        """,
    ):
        _, classes = datasets.get(row.data_fingerprint, ((), 0))
        if classes and wilson(row.unbroken, row.n)[0] > 1 / classes:
            reason = f"no minimal-norm attack with gradients changed {row.unbroken} of {row.n} answers at any size"
            yield Note(row.board, row.target, "unbroken at any radius", reason)


def _false_alarms(store: Store) -> Iterator[Note]:
    for row in store.read(_Alarms, "SELECT board, target, alarms, n, asked FROM clean_accuracy WHERE alarms NOT NULL"):
        if not row.asked:
            continue
        if row.alarms / row.n >= FAR * row.asked and wilson(row.alarms, row.n)[0] > row.asked:
            reason = (
                f"alarms on {row.alarms} of {row.n} clean images, {100 * row.alarms / row.n:.1f} % "
                f"where {100 * row.asked:.1f} % was asked"
            )
            yield Note(row.board, row.target, "false alarms", reason)


def _contradictions(apart: Iterable[Evidence]) -> Iterator[Note]:
    """Evidence that does not count on the board and leaves less than what does: the strongest of each set."""
    for one in apart:
        if one.contradicts:
            kind = CONTRADICTED if one.elsewhere else NOT_REQUIRED
            yield Note(one.board, one.target, kind, one.reason, one.cell)


def _datasets(store: Store) -> dict[str, tuple[Iterable[int], int]]:
    """Shape and number of classes by fingerprint."""
    return {fingerprint: (row.shape, len(row.classes)) for fingerprint, row in store.datasets().items()}


def _sentence(row: _Attacked) -> str:
    return f"{row.entrant} fools {row.fooled} of {row.n}"
