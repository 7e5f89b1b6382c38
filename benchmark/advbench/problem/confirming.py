"""What looks like a success in lower precision counts as one when float32 has been asked, too.

Where the host may wait, that is asked at the end of each question about new successes alone. Elsewhere it is asked
about all who are not done, at the end of a bucket or when somebody reads what was found, and after every question where
the smallest perturbation is looked for. Such passes are counted, and come out of an example's budget, of which one is
kept for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from advbench.problem.batches import run_in_batches
from advbench.problem.ledger import Ledger


@dataclass(frozen=True)
class Sure:
    """What was confirmed so far."""

    best: Tensor
    score: Tensor
    won: Tensor


class Confirming(Ledger):
    """The half of a `Problem` that takes back what only the lower precision has seen."""

    _sure: Sure | None = None
    """What was confirmed before anything else was kept; None while all of it is."""

    def _about_to_keep(self) -> None:
        if self._unsure and self._sure is None:
            self._sure = Sure(self._best.clone(), self._score.clone(), self._won.clone())

    def _confirm(self, lawful: Tensor | None = None) -> None:
        """Ask about what was kept since; what does not hold, or is not `lawful`, gives way to what was there before."""
        sure, self._sure = self._sure, None
        if sure is None:
            return
        claimed = (self._score != sure.score) | (self._won != sure.won)
        if self._waits:
            self._confirm_alone(claimed.nonzero().squeeze(1), sure)
        elif len(self._index):
            self._confirm_among_all(claimed, lawful, sure)

    def _confirm_alone(self, rows: Tensor, sure: Sure) -> None:
        if len(rows) == 0:
            return
        holds = self._holds(rows)
        self._spend(rows)
        lost = rows[~holds]
        self._best[lost], self._score[lost] = sure.best[lost], sure.score[lost]
        self._let_go(rows[holds])

    def _confirm_among_all(self, claimed: Tensor, lawful: Tensor | None, sure: Sure) -> None:
        """In fixed shapes, so that nothing waits."""
        holds = torch.zeros_like(claimed).index_put_((self._index,), self._holds(self._index))
        if lawful is not None:
            holds &= lawful
        stays = ~claimed | holds
        self._best = torch.where(stays.view(-1, *[1] * (self._best.ndim - 1)), self._best, sure.best)
        self._score = torch.where(stays, self._score, sure.score)
        self._won = torch.where(stays, self._won, sure.won)
        if self._limit is None:
            self._spend(self._index)
        else:
            self._forwards += claimed.long()

    def _holds(self, rows: Tensor) -> Tensor:
        """Whether the best of each of these examples is a success in float32."""
        with torch.no_grad():
            images = self.threat.apply(self._x[rows], self._best[rows])
            logits = run_in_batches(partial(self._ask, exactly=True), images, self._batch)
        return self._reaches(self._goal[rows], logits)
