"""The one object that an attack sees: a batch, a goal, a ball, and only the access that it declared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from advbench.access import Access
from advbench.draws import Draws
from advbench.errors import TIME_UP, AccessError, PluginError, TimeUpError
from advbench.goal import Goal
from advbench.pace import may_wait
from advbench.problem.asked import Asked, Batch, Seen
from advbench.problem.bank import Bank
from advbench.problem.batches import BatchSize
from advbench.problem.clock import clock
from advbench.problem.moves import ENOUGH, Moves
from advbench.problem.precision import Precision
from advbench.problem.successes import MARGIN, Answers, Stop
from advbench.threats import Threat

__all__ = ["MARGIN", "Loss", "Probe", "Problem", "Stop"]

Loss = Callable[[Goal, Tensor], Tensor]


@dataclass(frozen=True)
class Rise:
    """What a batch is differentiated by, and what is known besides."""

    sums: Sequence[Tensor]
    logits: Tensor | None
    loss: Loss | None = None
    values: Tensor | None = None
    """Of `loss`, row by row."""


@dataclass(frozen=True)
class Probe:
    """What one pass with a gradient tells of each row; for examples that are done, zeros and the last known logits."""

    gradient: Tensor
    logits: Tensor
    loss: Tensor | None = None
    """The loss row by row, where all rows were asked: who needs it otherwise makes it of the logits."""


class Problem(Moves):
    """Bookkeeping for one batch: the best success seen, who is done, how many passes were spent.

    Every `p` is a batch of perturbations in the threat's coordinates, a row per example; with `of`, a row per
    candidate, `of` naming the example of each (restarts, proposals, grid points in one batch).
    Examples that are done cost no pass: their gradients are zero and their answers the last ones known. On an
    accelerator, where every look at who is done is a wait, this is so from the end of a bucket on; see `buckets`.
    """

    def __init__(
        self,
        *,
        images: Tensor,
        goal: Goal,
        threat: Threat,
        target: Answers,
        access: Access,
        draws: Draws,
        stop: Stop = "first",
        minimizes: bool = False,
        measures: bool = False,
        already: Tensor | None = None,
        budget: int | None = None,
        deadline: float | None = None,
        batch: BatchSize | None = None,
        bank: Bank | None = None,
        waits: bool | None = None,
        precision: Precision = "float32",
    ) -> None:
        """`waits`: whether the host may wait for the device in every pass; None: as `may_wait` says."""
        self.images = images.clone()
        self.goal = Goal(goal.labels.clone(), goal.targeted)
        self.threat = threat
        self.draws = draws
        self.classes = target.classes
        self._x = images
        self._goal = goal
        self._target = target
        self._access = access
        self._stop = "end" if measures else stop
        self._minimizes = minimizes
        self._measures = measures
        self._budget = budget
        self._deadline = deadline
        self._batch = batch or BatchSize.auto(images.device, images.shape[1:])
        self._bank = bank
        self._precision = precision
        count, device = len(images), images.device
        self._best = threat.identity(images)
        # in float64: the bonus of an undetected success is so large that float32 would lose the size added to it
        self._never = images.new_full((), -torch.inf)
        self._score = torch.full((count,), -torch.inf, dtype=torch.float64, device=device)
        self._logits = images.new_zeros(count, target.classes)
        self._suspicion = images.new_zeros(count)
        self._forwards = torch.zeros(count, dtype=torch.int64, device=device)
        self._backwards = torch.zeros_like(self._forwards)
        self._active = torch.ones(count, dtype=torch.bool, device=device)
        self._won = torch.zeros_like(self._active)
        if already is not None and not measures:  # the goal is reached by the clean image: nothing smaller can be found
            worst = torch.finfo(torch.float64).min
            self._score = torch.where(already, 0.0 if minimizes else worst, self._score)
            if (minimizes or stop == "first") and Access.SUSPICION not in access:
                self._won |= already
                self._active &= ~already
        # draws and suspicion are asked again about successes alone, so that these have to be found
        exact = target.draws > 1 or Access.SUSPICION in access or not self._remembers
        self._waits = exact or (may_wait(device) if waits is None else waits)
        self._regroup(self._active.nonzero().squeeze(1))

    # What an attack reads

    @property
    def done(self) -> bool:
        """Whether every example is done, so that no pass would change anything."""
        return len(self._index) == 0

    @property
    def active(self) -> Tensor:
        """Indices of the examples that are not done."""
        return self._index

    @property
    def bank(self) -> Bank:
        """Held-out images to start at; empty where the data have none."""
        if self._bank is None:
            raise AccessError("asked for held-out images but does not declare `uses_bank = True`")
        return self._bank

    def ascent(self, p: Tensor, loss: Loss = Goal.cross_entropy, of: Tensor | None = None) -> Tensor:
        """The unit step in the ball's geometry along which the loss grows fastest."""
        p = p.to(self._x.dtype)
        asked = self._question(of, len(p))
        gradient = self.gradient(p, loss, of)
        if len(asked.rows) >= ENOUGH * len(p):  # where the gradient is zero, the step is
            return self.threat.steepest(self._around(of).x, gradient)
        step = torch.zeros_like(p)
        step[asked.rows] = self.threat.steepest(self._x[asked.examples], gradient[asked.rows])
        return step

    # What an attack asks of the target

    def labels(self, p: Tensor, of: Tensor | None = None) -> Tensor:
        """The predicted classes."""
        self._require(Access.LABELS)
        return self._forward(p, of).argmax(1)

    def logits(self, p: Tensor, of: Tensor | None = None) -> Tensor:
        self._require(Access.LOGITS)
        return self._forward(p, of)

    def reached(self, p: Tensor, of: Tensor | None = None) -> Tensor:
        """Whether each perturbation reaches the goal."""
        goal = self._goal if of is None else self._goal[of]
        return goal.reached(self.labels(p, of))

    def gradient(
        self, p: Tensor, loss: Loss = Goal.cross_entropy, of: Tensor | None = None, aim: Tensor | None = None
    ) -> Tensor:
        """The gradient of the loss with respect to p; the same pass remembers its successes."""
        return self.probe(p, loss, of, aim).gradient

    def probe(
        self, p: Tensor, loss: Loss = Goal.cross_entropy, of: Tensor | None = None, aim: Tensor | None = None
    ) -> Probe:
        """Gradient and logits of one pass. `aim` names a class per row of p, which the loss finds in `goal.aim`."""
        self._require(Access.GRADIENTS)

        def ascend(goal: Goal, images: Tensor) -> Rise:
            logits = self._ask(images)
            values = loss(goal, logits)
            return Rise([values.sum()], logits, loss, values if values.shape == logits.shape[:1] else None)

        gradients, logits, values = self._backward(p, of, aim, ascend)
        return Probe(gradients.squeeze(1), logits, values)

    def jacobian(self, p: Tensor, classes: Tensor, of: Tensor | None = None) -> Probe:
        """The gradients (N, K, …) of the logits of K classes (N, K) a row: one forward pass and K backward ones."""
        self._require(Access.GRADIENTS)

        def ascend(goal: Goal, images: Tensor) -> Rise:
            logits = self._ask(images)
            assert goal.aim is not None
            return Rise(logits.gather(1, goal.aim).sum(0).unbind(), logits)

        gradients, logits, _ = self._backward(p, of, classes, ascend)
        return Probe(gradients, logits)

    def suspicion(self, p: Tensor, of: Tensor | None = None) -> Tensor:
        """How suspect the defense finds each image."""
        self._require(Access.SUSPICION)
        self._check_time()
        asked = self._question(of, len(p))
        answers = self._suspicion.clone() if of is None else self._suspicion[of]
        for batch, retry in asked.in_batches(self._batch, self._x, self._goal):
            with retry, torch.no_grad():
                score = self._suspect(self._apply(batch.x, batch.of(p)))[: batch.real].to(answers.dtype)
                answers[batch.rows[: batch.real]] = score
                self._suspicion[batch.examples] = score
        self._owe(asked)
        self._find_active()
        return answers

    def suspicion_gradient(self, p: Tensor, of: Tensor | None = None) -> Tensor:
        """The gradient of the suspicion with respect to p."""
        self._require(Access.SUSPICION)

        def suspect(goal: Goal, images: Tensor) -> Rise:
            return Rise([self._suspect(images).sum()], None)

        return self._backward(p, of, None, suspect)[0].squeeze(1)

    # What the harness does

    def finish(self, p: Tensor) -> Tensor:
        """The perturbations to judge: the best success seen, else what the attack returned."""
        unsure = self._minimizes or self._stop == "end" or Access.SUSPICION in self._access
        if unsure and not self._measures and not self.done:
            self._forward(p, None)
        return torch.where(self.found.view(-1, *[1] * (p.ndim - 1)), self._best, p)

    # The passes

    def _forward(self, p: Tensor, of: Tensor | None) -> Tensor:
        self._check_time()
        asked = self._question(of, len(p))
        paid = None if self._waits else self._paid(asked)
        parts: list[Tensor] = []
        for batch, retry in asked.in_batches(self._batch, self._x, self._goal):
            with retry, torch.no_grad():
                q = batch.of(p)
                images = self._apply(batch.x, q)
                logits = self._ask(images)[: batch.real]
                self._look(asked, batch, p, q, images, logits, paid)
                parts.append(logits)
        answers = self._known(asked, parts, paid)
        self._owe(asked, paid=paid)
        self._find_active()
        return answers

    def _backward(
        self, p: Tensor, of: Tensor | None, aim: Tensor | None, ascend: Callable[[Goal, Tensor], Rise]
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The gradients (N, K, …) of the K sums that `ascend` answers, the logits, and the losses if all were asked."""
        self._check_time()
        asked = self._question(of, len(p))
        paid = None if self._waits else self._paid(asked)
        sums = aim.shape[1] if aim is not None and aim.ndim == 2 else 1
        parts: list[Tensor] = []
        told: list[Tensor] = []
        values: list[Tensor] = []
        for batch, retry in asked.in_batches(self._batch, self._x, self._goal):
            with retry:
                q = batch.of(p).detach().requires_grad_()
                goal = batch.goal if aim is None else replace(batch.goal, aim=batch.of(aim))
                with torch.enable_grad():
                    images = self._apply(batch.x, q)
                    rise = ascend(goal, images)
                    if not rise.sums[0].requires_grad:
                        raise PluginError(
                            "no gradient flows from the loss back to the image; the target or the loss cuts it off"
                        )
                    by_value = [
                        torch.autograd.grad(value, q, retain_graph=place + 1 < sums)[0][: batch.real]
                        for place, value in enumerate(rise.sums)
                    ]
                # first what may run out of memory: then the rows come again, and nothing may be there twice
                part = by_value[0].unsqueeze(1) if sums == 1 else torch.stack(by_value, 1)
                if rise.logits is not None:
                    logits = rise.logits.detach()[: batch.real]
                    self._look(asked, batch, p, q.detach(), images.detach(), logits, paid, rise)
                    told.append(logits)
                if rise.values is not None:
                    values.append(rise.values.detach()[: batch.real])
                parts.append(part)
        gradients = _joined(parts) if parts else p.new_zeros(0, sums, *p.shape[1:])
        if not asked.whole:
            gradients = p.new_zeros(len(p), sums, *p.shape[1:]).index_put_((asked.rows,), gradients)
        elif paid is not None:
            gradients = torch.where(paid.view(-1, *[1] * p.ndim), gradients, 0)
        answers = self._known(asked, told, paid)
        self._owe(asked, backwards=sums, paid=paid)
        self._find_active()
        return gradients, answers, _joined(values) if values and asked.whole and paid is None else None

    def _look(
        self,
        asked: Asked,
        batch: Batch,
        p: Tensor,
        q: Tensor,
        images: Tensor,
        logits: Tensor,
        paid: Tensor | None,
        rise: Rise | None = None,
    ) -> None:
        """Remember what a batch has shown."""
        real = slice(0, batch.real)
        values = None if rise is None or rise.values is None else rise.values.detach()[real]
        seen = Seen(
            who=batch.examples,
            q=q[real],
            images=images[real],
            logits=logits,
            goal=batch.judged(),
            repeated=asked.of is not None if self._waits else not asked.unique,
            margin=values if rise is not None and rise.loss is Goal.margin else None,
            loss=values if rise is not None and rise.loss is Goal.cross_entropy else None,
            place=slice(batch.first, batch.first + batch.real) if batch.everyone else None,
            projected=not self._waits and self._projected is not None and self._projected.holds(p, asked.of),
            paid=None if paid is None else paid[batch.first : batch.first + batch.real],
        )
        self._about_to_keep()
        if self._waits:
            self._remember(seen)
        else:
            self._keep(seen)

    def _known(self, asked: Asked, parts: list[Tensor], paid: Tensor | None) -> Tensor:
        """What the attack is told: the new answers, and the last ones known of who was not asked or has not paid."""
        last = self._logits if asked.of is None else self._logits[asked.of]
        if not parts:
            return last.clone()
        new = _joined(parts).to(last.dtype)
        if paid is not None:
            new = torch.where(paid.view(-1, 1), new, last[asked.rows])
        answers = new if asked.whole else last.index_put((asked.rows,), new)
        if asked.of is None:  # it is the attack's: what rows are to be told that are not asked again is kept apart
            alone = asked.whole and paid is None
            self._logits, self._shared = (answers, True) if alone else (answers.clone(), False)
        else:
            if self._shared:
                self._logits, self._shared = self._logits.clone(), False
            self._logits[asked.examples] = new
        return answers

    def _apply(self, x: Tensor, p: Tensor) -> Tensor:
        """The perturbed images that the target is asked about."""
        return self.threat.apply(x, p)

    def _find_active(self) -> None:
        if not self._waits:
            self._end_of_pass()
            return
        self._confirm()
        if self._changed:  # asking who is active costs a wait on a GPU
            self._regroup(self._active.nonzero().squeeze(1))

    def _require(self, wanted: Access) -> None:
        if wanted not in self._access:
            raise AccessError(f"asked for {wanted.words} but declares `needs` = {self._access.words}")

    def _check_time(self) -> None:
        if self._deadline is not None and clock(self._x.device) > self._deadline:
            raise TimeUpError(TIME_UP)


def _joined(parts: list[Tensor]) -> Tensor:
    """One tensor, in memory of its own: a gradient may be one number repeated."""
    return parts[0].contiguous() if len(parts) == 1 else torch.cat(parts)
