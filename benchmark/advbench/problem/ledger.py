"""Who is asked, and what that has cost: the rows of every question, passes counted, budgets held."""

from __future__ import annotations

import torch
from torch import Tensor

from advbench.problem.asked import Asked, version
from advbench.problem.successes import Successes


class Ledger(Successes):
    """The half of a `Problem` that knows who is done and counts passes."""

    _budget: int | None
    _index: Tensor
    """The examples that are not done."""
    _forwards: Tensor
    _backwards: Tensor
    _waits: bool
    """Whether the host may wait for the device in every pass, as on a CPU, where it costs nothing."""
    _times: int = 1
    """How often the target is asked in one pass."""
    _owed: tuple[Asked, int, int] | None = None
    """Passes over the same rows that are not counted yet."""
    _questions: tuple[Asked, ...] = ()
    """The latest ones, with what has been gathered for them."""

    @property
    def _limit(self) -> int | None:
        """Passes that questions may cost an example: its budget, less what confirms a success at the end of it."""
        return self._budget if self._budget is None or not self._unsure else self._budget - self._times

    @property
    def forwards(self) -> Tensor:
        """How many forward passes every example has cost."""
        self._pay()
        return self._forwards

    @property
    def backwards(self) -> Tensor:
        """How many backward ones."""
        self._pay()
        return self._backwards

    def _question(self, of: Tensor | None, count: int) -> Asked:
        """The rows that are put to the target; as long as nobody leaves, the same for the same question."""
        for kept in self._questions:
            if kept.of is of and (of is None or kept.version == version(of)):
                return kept
        everyone = len(self._index) == len(self._x)
        seen = -1 if of is None else version(of)
        with torch.inference_mode(False):  # it is kept, and may be used outside of that mode
            if of is None or self._waits:
                rows, examples = self._rows(of)
                whole = len(rows) == count
                asked = Asked(of, seen, rows, examples, whole, of is None and everyone and whole, of is None)
            else:
                active = of is self._index
                rows = torch.arange(count, device=of.device)
                # passes are counted later, when the attack may have written into its own tensor
                asked = Asked(of, seen, rows, of if active else of.clone(), True, active and everyone, active)
        self._questions = (asked, *self._questions[:1])
        return asked

    def _rows(self, of: Tensor | None) -> tuple[Tensor, Tensor]:
        """The rows that belong to examples which are not done and are within the budget, and these examples."""
        if of is None:
            return self._index, self._index
        rows = self._active[of].nonzero().squeeze(1)
        examples = of[rows]
        if self._limit is None:
            return rows, examples
        order = examples.argsort(stable=True)
        place = torch.arange(len(rows), device=rows.device)
        sorted_ = examples[order]
        first = torch.searchsorted(sorted_, sorted_)  # where each example's candidates begin
        paid = order[self.forwards[sorted_] + place - first < self._limit].sort().values
        return rows[paid], examples[paid]

    def _paid(self, asked: Asked) -> Tensor | None:
        """Which rows are within the budget, as a mask: an example's earlier candidates come first."""
        if self._limit is None:
            return None
        spent = self.forwards[asked.examples]
        if not asked.unique:
            order = asked.examples.argsort(stable=True)
            sorted_ = asked.examples[order]
            before = torch.arange(len(order), device=order.device) - torch.searchsorted(sorted_, sorted_)
            spent = spent.index_add_(0, order, before)
        return spent < self._limit

    def _owe(self, asked: Asked, *, backwards: int = 0, paid: Tensor | None = None) -> None:
        """A pass over these rows is to be counted: at once where there is a budget, else before anybody looks."""
        if paid is not None:
            self._forwards.index_add_(0, asked.examples, paid.long())
            self._backwards.index_add_(0, asked.examples, paid.long() * backwards)
        elif self._budget is not None:
            self._spend(asked.examples, backwards=backwards)
        else:
            if self._owed is not None and self._owed[0] is not asked:
                self._pay()
            _, f, b = self._owed or (asked, 0, 0)
            self._owed = asked, f + self._times, b + self._times * backwards

    def _pay(self) -> None:
        if self._owed is None:
            return
        (asked, forwards, backwards), self._owed = self._owed, None
        ones = torch.ones_like(asked.examples)
        self._forwards.index_add_(0, asked.examples, ones, alpha=forwards)
        if backwards:
            self._backwards.index_add_(0, asked.examples, ones, alpha=backwards)

    def _spend(self, examples: Tensor, *, backwards: int = 0) -> None:
        ones = torch.ones_like(examples)
        self._forwards.index_add_(0, examples, ones)
        if backwards:
            self._backwards.index_add_(0, examples, ones * backwards)
        if self._limit is not None:
            self._active &= self._forwards < self._limit
            self._changed = True

    def _regroup(self, index: Tensor) -> None:
        """From here on these examples are the ones that are not done."""
        self._index, self._questions, self._changed = index, (), False
        if self._shared:  # whose rows are asked no more keep these answers, whatever the attack does with its own
            self._logits, self._shared = self._logits.clone(), False
