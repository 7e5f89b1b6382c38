"""What stands beside a board's robust accuracy and does not count in it: the same target in the same ball elsewhere.

Cells on other example sets, as a merge may bring them, and attacks on the same examples that the board does not
require. Other protocols never meet. Reads the store, no torch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from advbench.rates.aim import UNTARGETED, goal_of
from advbench.rates.uncertainty import SIGNIFICANT, paired, two_samples
from advbench.store import Store


@dataclass(frozen=True)
class Contest:
    """The evidence against the board's robust accuracy."""

    paired: bool
    """True if both judged the same examples, which are then paired; False if their examples are disjoint."""
    right: int
    n: int
    board_right: int
    board_n: int
    p_value: float
    """Two-sided; doubled where two tests were made, and 1 unless the evidence has the lower accuracy."""

    @property
    def lower(self) -> bool:
        return self.right / self.n < self.board_right / self.board_n

    @property
    def words(self) -> str:
        p = "p < 0.0001" if self.p_value < 0.0001 else f"p = {self.p_value:.2g}"
        here = f"{self.board_right}" if self.paired else f"{self.board_right} of {self.board_n}"
        return f"leaves {self.right} of {self.n} right where the attacks that count here leave {here} ({p})"


@dataclass(frozen=True)
class Evidence:
    """A cell that says something of a target of a board, and is not counted there."""

    board: str
    target: str
    cell: str
    entrant: str
    elsewhere: bool
    """On another example set; else on the board's own examples, by an attack that it does not require."""
    count: int
    """Examples of the cell's set."""
    shared: int
    """How many of the cell's examples the board judges, too."""
    right: int
    n: int
    test: Contest | None
    """None except for the strongest attack of each set of examples, on boards that have a robust accuracy."""

    @property
    def contradicts(self) -> bool:
        return self.test is not None and self.test.p_value < SIGNIFICANT

    @property
    def where(self) -> str:
        """On which examples the evidence was made, in words."""
        if not self.elsewhere:
            return "the same examples, an attack that this board does not require"
        if self.shared == self.n:
            return f"another set, {self.count} of these examples"
        if self.shared:
            return f"another set of {self.count} examples, of which {self.shared} are judged here, too"
        return f"another set, {self.count} other examples"

    @property
    def reason(self) -> str:
        """The sentence that says how this evidence contradicts the board's robust accuracy."""
        assert self.test is not None
        if not self.elsewhere:
            return f"{self.entrant} {self.test.words}"
        place = self.where if self.test.paired else f"examples that are not judged here, of a set of {self.count}"
        return f"{self.entrant}, run on {place}, {self.test.words}"


def gather(store: Store) -> list[Evidence]:
    """All evidence by board and target, the strongest first; quickest within `store.tallied()`."""
    return _Search(store).everything()


@dataclass(frozen=True)
class _Leaves:
    """What a cell leaves right of its own target, as a board's ball has it."""

    board: str
    target: str
    cell: str
    entrant: str
    goal: str
    examples: str
    count: int
    n: int
    still_right: int


@dataclass(frozen=True)
class _Verdict:
    example: int
    right: bool


class _Search:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.boards = {board.key: board for board in store.boards()}
        self.sets: dict[str, frozenset[int]] = {}
        self.robust: dict[str, dict[str, dict[int, bool]]] = {}

    def everything(self) -> list[Evidence]:
        made = [*self._others(self._elsewhere(), True), *self._others(self._extras(), False)]
        return sorted(made, key=lambda one: (one.board, one.target, one.right / one.n, one.entrant, one.cell))

    def _elsewhere(self) -> list[_Leaves]:
        return self.store.read(
            _Leaves, "SELECT board, target, cell, entrant, goal, examples, count, n, still_right FROM elsewhere"
        )

    def _extras(self) -> list[_Leaves]:
        rows = self.store.read(
            _Leaves,
            "SELECT r.board, r.target, r.cell, r.entrant, r.goal, c.examples, c.count, r.n, r.still_right "
            "FROM rates r JOIN cells c ON c.key = r.cell WHERE r.own AND r.n > 0",
        )
        return [row for row in rows if row.entrant not in self.boards[row.board].required]

    def _others(self, rows: Iterable[_Leaves], elsewhere: bool) -> Iterator[Evidence]:
        """Evidence of other attacks; on the same examples, where they have columns of their own, what contradicts."""
        groups: dict[tuple[str, str, str], list[_Leaves]] = defaultdict(list)
        for row in rows:
            if self._asks_the_same(row):
                groups[row.board, row.target, row.examples].append(row)
        for group in groups.values():
            strongest = min(group, key=lambda row: (row.still_right / row.n, row.entrant, row.cell))
            for row in group if elsewhere else [strongest]:
                one = self._evidence(row, elsewhere, self._contest(row) if row is strongest else None)
                if elsewhere or one.contradicts:
                    yield one

    def _asks_the_same(self, row: _Leaves) -> bool:
        """Any wrong answer speaks against a board that leaves the class open; else the goal must be its own."""
        goals = {goal_of(entrant) for entrant in self.boards[row.board].required}
        return not goals or UNTARGETED in goals or row.goal in goals

    def _evidence(self, row: _Leaves, elsewhere: bool, test: Contest | None) -> Evidence:
        # a goal leaves its own class out: only then is the set not what the cell was run on
        ran = self._examples(row.examples) if row.n == row.count else self._verdicts(row).keys()
        return Evidence(
            board=row.board,
            target=row.target,
            cell=row.cell,
            entrant=row.entrant,
            elsewhere=elsewhere,
            count=row.count,
            shared=len(self._examples(self.boards[row.board].examples) & ran),
            right=row.still_right,
            n=row.n,
            test=test,
        )

    def _contest(self, row: _Leaves) -> Contest | None:
        robust = self._robust(row.board).get(row.target)
        if not robust:
            return None
        verdicts = self._verdicts(row)
        both = sorted(robust.keys() & verdicts.keys())
        rest = [right for example, right in verdicts.items() if example not in robust]
        tests = []
        if both:
            here, there = [robust[e] for e in both], [verdicts[e] for e in both]
            tests.append(Contest(True, sum(there), len(both), sum(here), len(both), paired(here, there)))
        if rest:
            right = sum(robust.values())
            p_value = two_samples(sum(rest), len(rest), right, len(robust))
            tests.append(Contest(False, sum(rest), len(rest), right, len(robust), p_value))
        due = [
            replace(one, p_value=min(1.0, len(tests) * one.p_value) if one.lower else 1.0)  # as many as were made
            for one in tests
        ]
        return min(due, key=lambda one: (one.p_value, not one.paired), default=None)

    def _verdicts(self, row: _Leaves) -> dict[int, bool]:
        """Right on the clean image and under this cell, as the board's ball has it."""
        sql = """
            SELECT o.example, c.predicted = c.label AND NOT (o.predicted <> c.label AND o.inside) AS right
            FROM judged_outcomes o JOIN clean c ON c.target = o.target_id AND c.example = o.example
            WHERE o.board = ? AND o.cell = ? AND o.target = o.source
        """
        return {one.example: one.right for one in self.store.read(_Verdict, sql, row.board, row.cell)}

    def _examples(self, fingerprint: str) -> frozenset[int]:
        if fingerprint not in self.sets:
            self.sets[fingerprint] = frozenset(self.store.examples(fingerprint))
        return self.sets[fingerprint]

    def _robust(self, board: str) -> dict[str, dict[int, bool]]:
        if board not in self.robust:
            self.robust[board] = self.store.robust_examples(board)
        return self.robust[board]
