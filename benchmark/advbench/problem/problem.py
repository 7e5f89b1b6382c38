"""The one object that an attack sees: a batch, a goal, a ball, and only the access that it declared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from advbench.access import Access
from advbench.draws import Draws
from advbench.errors import TIME_UP, AccessError, PluginError, TimeUpError
from advbench.goal import Goal
from advbench.problem.bank import Bank
from advbench.problem.batches import BatchSize, in_batches
from advbench.problem.clock import clock
from advbench.problem.successes import MARGIN, Answers, Stop, Successes
from advbench.threats import Threat

__all__ = ["MARGIN", "Loss", "Probe", "Problem", "Stop"]

ENOUGH = 0.9
"""From this share of wanted rows on, working on all of them is cheaper than gathering those."""

Loss = Callable[[Goal, Tensor], Tensor]


@dataclass(frozen=True)
class Probe:
    """What one pass with a gradient tells of each row; for examples that are done, zeros and the last known logits."""

    gradient: Tensor
    logits: Tensor


class Problem(Successes):
    """Bookkeeping for one batch: the best success seen, who is done, how many passes were spent.

    Every `p` is a batch of perturbations in the threat's coordinates, a row per example; with `of`, a row per
    candidate, `of` naming the example of each (restarts, proposals, grid points in one batch).
    Examples that are done cost no pass: their gradients are zero and their answers the last ones known.
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
    ) -> None:
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
        count, device = len(images), images.device
        self._best = threat.identity(images)
        # in float64: the bonus of an undetected success is so large that float32 would lose the size added to it
        self._score = torch.full((count,), -torch.inf, dtype=torch.float64, device=device)
        self._logits = images.new_zeros(count, target.classes)
        self._suspicion = images.new_zeros(count)
        self.forwards = torch.zeros(count, dtype=torch.int64, device=device)
        self.backwards = torch.zeros(count, dtype=torch.int64, device=device)
        self._active = torch.ones(count, dtype=torch.bool, device=device)
        self._won = torch.zeros_like(self._active)
        if already is not None and not measures:  # the goal is reached by the clean image: nothing smaller can be found
            worst = torch.finfo(torch.float64).min
            self._score = torch.where(already, 0.0 if minimizes else worst, self._score)
            if (minimizes or stop == "first") and Access.SUSPICION not in access:
                self._won |= already
                self._active &= ~already
        self._changed = True
        self._find_active()

    # What an attack reads

    @property
    def eps(self) -> float:
        """The radius of the ball."""
        return self.threat.eps

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

    # What an attack does with perturbations

    def start(self, *, random: bool = False) -> Tensor:
        """The perturbation that changes nothing, or a random one in the ball."""
        return self.threat.start(self._x, self.draws) if random else self.threat.identity(self._x)

    def project(self, p: Tensor, of: Tensor | None = None) -> Tensor:
        """The nearest perturbations inside ball and box; rows of examples that have won may be returned as they are."""
        p = p.to(self._x.dtype)  # draws come in float32, whatever the images are in
        if self._budget is None:
            rows, examples = self._rows(of)
        else:  # who has spent the budget without a success is still judged on what is projected here
            rows = (~(self._won if of is None else self._won[of])).nonzero().squeeze(1)
            examples = rows if of is None else of[rows]
        if len(rows) >= ENOUGH * len(p):
            return self.threat.project(self._x if of is None else self._x[of], p)
        projected = p.clone()
        projected[rows] = self.threat.project(self._x[examples], p[rows])
        return projected

    def ascent(self, p: Tensor, loss: Loss = Goal.cross_entropy, of: Tensor | None = None) -> Tensor:
        """The unit step in the ball's geometry along which the loss grows fastest."""
        p = p.to(self._x.dtype)
        rows, examples = self._rows(of)
        gradient = self.gradient(p, loss, of)
        if len(rows) >= ENOUGH * len(p):  # where the gradient is zero, the step is
            return self.threat.steepest(self._x if of is None else self._x[of], gradient)
        step = torch.zeros_like(p)
        step[rows] = self.threat.steepest(self._x[examples], gradient[rows])
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

        def ascend(goal: Goal, images: Tensor) -> tuple[Tensor, Tensor]:
            logits = self._ask(images)
            return loss(goal, logits).sum()[None], logits

        gradients, logits = self._backward(p, of, aim, ascend)
        return Probe(gradients.squeeze(1), logits)

    def jacobian(self, p: Tensor, classes: Tensor, of: Tensor | None = None) -> Probe:
        """The gradients (N, K, …) of the logits of K classes (N, K) a row: one forward pass and K backward ones."""
        self._require(Access.GRADIENTS)

        def ascend(goal: Goal, images: Tensor) -> tuple[Tensor, Tensor]:
            logits = self._ask(images)
            assert goal.aim is not None
            return logits.gather(1, goal.aim).sum(0), logits

        gradients, logits = self._backward(p, of, classes, ascend)
        return Probe(gradients, logits)

    def suspicion(self, p: Tensor, of: Tensor | None = None) -> Tensor:
        """How suspect the defense finds each image."""
        self._require(Access.SUSPICION)
        self._check_time()
        rows, examples = self._rows(of)
        answers = self._suspicion.clone() if of is None else self._suspicion[of]
        for first, chunk, real, retry in in_batches(torch.arange(len(rows), device=p.device), self._batch):
            with retry, torch.no_grad():
                asked, who = rows[chunk], examples[chunk]
                images = self._apply(self._images(who, of, first), p[asked])
                score = self._suspect(images)[:real]
                answers[asked[:real]] = score.to(answers.dtype)
                self._suspicion[who[:real]] = score.to(answers.dtype)
        self._spend(examples)
        self._find_active()
        return answers

    def suspicion_gradient(self, p: Tensor, of: Tensor | None = None) -> Tensor:
        """The gradient of the suspicion with respect to p."""
        self._require(Access.SUSPICION)

        def suspect(goal: Goal, images: Tensor) -> tuple[Tensor, None]:
            return self._suspect(images).sum()[None], None

        return self._backward(p, of, None, suspect)[0].squeeze(1)

    # What the harness does

    def finish(self, p: Tensor) -> Tensor:
        """The perturbations to judge: the best success seen, else what the attack returned."""
        unsure = self._minimizes or self._stop == "end" or Access.SUSPICION in self._access
        if unsure and not self._measures and not self.done:
            self._forward(p, None)
        successful = self._score > -torch.inf
        return torch.where(successful.view(-1, *[1] * (p.ndim - 1)), self._best, p)

    # The passes

    def _forward(self, p: Tensor, of: Tensor | None) -> Tensor:
        self._check_time()
        rows, examples = self._rows(of)
        answers = self._logits.clone() if of is None else self._logits[of]
        for first, chunk, real, retry in in_batches(torch.arange(len(rows), device=p.device), self._batch):
            with retry, torch.no_grad():
                asked, who = rows[chunk], examples[chunk]
                q = p[first : first + real] if len(rows) == len(p) and real == len(chunk) else p[asked]
                images = self._apply(self._images(who, of, first), q)
                logits = self._ask(images)[:real]
                answers[asked[:real]] = logits.to(answers.dtype)
                self._remember(who[:real], q[:real], images[:real], logits, of is not None)
        self._spend(examples)
        self._find_active()
        return answers

    def _backward(
        self,
        p: Tensor,
        of: Tensor | None,
        aim: Tensor | None,
        ascend: Callable[[Goal, Tensor], tuple[Tensor, Tensor | None]],
    ) -> tuple[Tensor, Tensor]:
        """The gradients (N, K, …) of the K sums that `ascend` answers, and the logits."""
        self._check_time()
        rows, examples = self._rows(of)
        sums = aim.shape[1] if aim is not None and aim.ndim == 2 else 1
        gradients = p.new_zeros(len(p), sums, *p.shape[1:]) if len(rows) < len(p) else None
        parts: list[Tensor] = []
        answers = self._logits.clone() if of is None else self._logits[of]
        for first, chunk, real, retry in in_batches(torch.arange(len(rows), device=p.device), self._batch):
            with retry:
                asked, who = rows[chunk], examples[chunk]
                whole = gradients is None and real == len(chunk)
                q = (p[first : first + real] if whole else p[asked]).detach().requires_grad_()
                goal = self._goal[who] if aim is None else replace(self._goal[who], aim=aim[asked])
                with torch.enable_grad():
                    images = self._apply(self._images(who, of, first), q)
                    values, logits = ascend(goal, images)
                    if not values.requires_grad:
                        raise PluginError(
                            "no gradient flows from the loss back to the image; the target or the loss cuts it off"
                        )
                    by_value = [
                        torch.autograd.grad(value, q, retain_graph=place + 1 < len(values))[0][:real]
                        for place, value in enumerate(values)
                    ]
                part = by_value[0].unsqueeze(1) if sums == 1 else torch.stack(by_value, 1)
                if gradients is None:
                    parts.append(part)
                else:
                    gradients[asked[:real]] = part
                if logits is not None:
                    logits = logits.detach()[:real]
                    answers[asked[:real]] = logits.to(answers.dtype)
                    self._remember(who[:real], q.detach()[:real], images.detach()[:real], logits, of is not None)
        self._spend(examples, backwards=sums)
        self._find_active()
        if gradients is None:
            gradients = torch.cat(parts) if parts else p.new_zeros(len(p), sums, *p.shape[1:])
        return gradients, answers

    def _apply(self, x: Tensor, p: Tensor) -> Tensor:
        """The perturbed images that the target is asked about."""
        return self.threat.apply(x, p)

    def _rows(self, of: Tensor | None) -> tuple[Tensor, Tensor]:
        """The rows that belong to examples which are not done and are within the budget, and these examples."""
        if of is None:
            return self._index, self._index
        rows = self._active[of].nonzero().squeeze(1)
        examples = of[rows]
        if self._budget is None:
            return rows, examples
        order = examples.argsort(stable=True)
        place = torch.arange(len(rows), device=rows.device)
        sorted_ = examples[order]
        first = torch.searchsorted(sorted_, sorted_)  # where each example's candidates begin
        paid = order[self.forwards[sorted_] + place - first < self._budget].sort().values
        return rows[paid], examples[paid]

    def _find_active(self) -> None:
        if self._changed:  # asking who is active costs a wait on a GPU
            self._index = self._active.nonzero().squeeze(1)
            self._gathered: dict[tuple[int, int], Tensor] = {}
            self._gathered_for: tuple[Tensor | None, int] = None, -1
            self._changed = False

    def _images(self, who: Tensor, of: Tensor | None, first: int) -> Tensor:
        """The images of one batch of rows; the same ones come again, pass after pass, until somebody leaves."""
        asked = of, -1 if of is None else of._version
        if self._gathered_for[0] is not of or self._gathered_for[1] != asked[1]:
            self._gathered_for, self._gathered = asked, {}
        key = first, len(who)
        if key not in self._gathered:
            everyone = of is None and len(who) == len(self._x) == len(self._index)
            self._gathered[key] = self._x if everyone else self._x[who]
        return self._gathered[key]

    def _spend(self, examples: Tensor, *, backwards: int = 0) -> None:
        ones = torch.ones_like(examples)
        self.forwards.index_add_(0, examples, ones)
        if backwards:
            self.backwards.index_add_(0, examples, ones * backwards)
        if self._budget is not None:
            self._active &= self.forwards < self._budget
            self._changed = True

    def _require(self, wanted: Access) -> None:
        if wanted not in self._access:
            raise AccessError(f"asked for {wanted.words} but declares `needs` = {self._access.words}")

    def _check_time(self) -> None:
        if self._deadline is not None and clock(self._x.device) > self._deadline:
            raise TimeUpError(TIME_UP)
