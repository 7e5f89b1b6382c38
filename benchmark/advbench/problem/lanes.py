"""Searches that were written for a network, on a problem: each example's as if alone, their passes made together.

Code that knows nothing of problems, such as another library's attack, wants a network, images and labels. Here every
example has a lane: a thread in which that code runs for this example alone, on the CPU, with random numbers that follow
from the example and the seed. One lane runs at a time, until it asks its network something. When all of them wait, what
they ask is put to the target in one pass of the problem, which counts it, holds budgets and remembers successes. So
nothing that is found depends on the company, and a pass still has as many rows as there are lanes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advbench.access import Access
from advbench.errors import PluginError
from advbench.geometry import Geometry
from advbench.problem.chance import Chance, kept_apart
from advbench.problem.problem import Problem
from advbench.problem.tape import Tape

Keep = Literal["returned", "path"]
Search = Callable[[nn.Module, Tensor, Tensor, int], Tensor]
"""Of a network, an image (1, C, H, W), its label (1,) and a seed it makes an image (1, C, H, W)."""

MOST = 256
"""Lanes at a time; a thread each."""
PATIENCE = 10.0
"""Seconds that a lane which is told to end has for what it does between two questions."""


def in_lanes(problem: Problem, search: Search, *, keep: Keep = "returned") -> Tensor:
    """A perturbation for every example, from what `search` makes of each.

    `keep` says what is judged: what the search returned, or the best that it asked about on its path, where examples
    leave as soon as enough is found. One that the budget cuts off is judged by the best of its path in either case.
    """
    threat, x = problem.threat, problem.images
    if Geometry.PIXELS not in threat.offers:
        raise PluginError(
            f"a search for a network changes pixels, and perturbations in {threat.name} are something else"
        )
    problem.look_at_every_pass()
    patient = problem if keep == "path" else Patient.of(problem)
    p = problem.start()
    seeds = problem.draws.integers(2**31 - 1).tolist()
    with kept_apart(x.device):
        for places in torch.split(problem.active, min(MOST, problem._batch.size)):
            wave = Wave(patient, [Lane(place, seeds[place], patient, search) for place in places.tolist()])
            wave.run()
            for lane in wave.lanes:
                image = lane.returned
                if image is None:
                    continue
                if keep == "returned":  # what it has seen on its way is not what it says
                    lane.forget()
                moved = image.to(x.device, x.dtype) - x[lane.place]
                if bool(moved.isfinite().all()):  # what is no image has found nothing
                    p[lane.place] = moved
    return p


class Patient(Problem):
    """A view of a problem in which successes are noted, and nobody leaves because of one."""

    _problem: Problem

    @classmethod
    def of(cls, problem: Problem) -> Patient:
        view = cls.__new__(cls)
        view.__dict__ = problem.__dict__
        view._problem = problem
        return view

    def _require(self, wanted: Access) -> None:
        self._problem._require(wanted)

    def _let_go(self, who: Tensor) -> None:
        """The search goes on until it ends by itself."""


class _Over(BaseException):
    """Ends a search whose example wants no more passes; no `except Exception` of a library's stops it."""


class Lane:
    """One example's search, in a thread of its own that runs when it is told to."""

    def __init__(self, place: int, seed: int, problem: Problem, search: Search) -> None:
        self.place = place
        self.problem = problem
        self.asks: Tensor | None = None
        """The images that it asks about."""
        self.differentiates = False
        self.weights: Tensor | None = None
        """Of logits, where it asks for a gradient: those that flow back from its loss."""
        self.tape: Taped | None = None
        """The pass that it asked for, or whose gradient it asks for."""
        self.answer: Tensor | None = None
        self.returned: Tensor | None = None
        self.error: BaseException | None = None
        self.over = False
        self.ended = False
        self._chance = Chance.of(seed)
        self._before = problem._score[place].clone(), problem._best[place].clone()
        self._mine, self._theirs = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=(search, seed), name=f"lane {place}", daemon=True)
        self._thread.start()

    def resume(self) -> None:
        """Let it run until it asks something or ends, and raise what it raised."""
        self._chance.restore()
        self._mine.release()
        self._theirs.acquire()
        self._chance, self.answer = Chance.now(), None
        if self.error is not None:
            raise self.error

    def end(self) -> None:
        """Have it raised out of whatever it does, if it still runs."""
        self.over = self.ended = True
        self._mine.release()
        self._thread.join(PATIENCE)
        self.answer = self.tape = self.asks = self.weights = None

    def forget(self) -> None:
        """Take back what was noted of its example on the way."""
        score, best = self._before
        self.problem._score[self.place] = score
        self.problem._best[self.place] = best

    # In the lane's own thread

    def _run(self, search: Search, seed: int) -> None:
        self._mine.acquire()
        try:
            if not self.over:
                # on the CPU, whose generators are known, and where small tensors cost least
                image = self.problem.images[self.place : self.place + 1].cpu().float()
                label = self.problem.goal.labels[self.place : self.place + 1].cpu()
                returned = search(AsNetwork(self), image.clone(), label.clone(), seed)
                self.returned = self._image(returned, "returned", 1)[0]
        except _Over:
            pass
        except BaseException as error:
            self.error = error
        finally:
            self.ended = True
            self._theirs.release()

    def forward(self, images: Tensor, *, differentiates: bool) -> Tensor:
        """The logits for images, once the others wait, too."""
        self.asks = self._image(images, "asked about", len(images))
        self.differentiates = differentiates
        self._wait()
        assert self.answer is not None
        return self.answer.to(images.dtype)

    def backward(self, tape: Taped, weights: Tensor) -> Tensor:
        """The gradient by the images of that pass."""
        self.tape, self.weights = tape, weights
        self._wait()
        assert self.answer is not None
        return self.answer.to(weights.dtype)

    def _wait(self) -> None:
        if not self.over:
            self._theirs.release()
            self._mine.acquire()
        if self.over:
            raise _Over

    def _image(self, images: object, how: str, count: int) -> Tensor:
        shape = (count, *self.problem.images.shape[1:])
        if not isinstance(images, Tensor) or images.shape != shape:
            given = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise PluginError(f"the search {how} {given} where images {shape} were due")
        return images.detach()


class AsNetwork(nn.Module):
    """The problem as a search sees it in its lane: images to logits, with gradients where it may ask for them.

    To whoever may learn labels alone it answers with 1 for the class and 0 for the others.
    """

    def __init__(self, lane: Lane) -> None:
        super().__init__()
        self._lane = lane
        # some libraries ask a network's parameters where it lies
        self.place = nn.Parameter(torch.zeros(0), requires_grad=False)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        slopes = Access.GRADIENTS in self._lane.problem._access
        if slopes and torch.is_grad_enabled() and images.requires_grad:
            answer: Tensor = _Answer.apply(images, self._lane)
            return answer
        return self._lane.forward(images, differentiates=False)


class _Answer(torch.autograd.Function):
    """Autograd's side of a pass: its graph is on the tape."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, images: Tensor, lane: Lane) -> Tensor:
        answer = lane.forward(images, differentiates=True)
        ctx.lane, ctx.tape, ctx.dtype = lane, lane.tape, images.dtype  # type: ignore[attr-defined]
        lane.tape = None  # the graph of the search holds it now, and nobody else
        return answer

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: torch.autograd.function.FunctionCtx, *weights: Tensor) -> tuple[Tensor, None]:
        gradient = ctx.lane.backward(ctx.tape, weights[0])  # type: ignore[attr-defined]
        return gradient.to(ctx.dtype), None  # type: ignore[attr-defined]


class Taped:
    """A lane's rows of a pass."""

    def __init__(self, tape: Tape, rows: slice) -> None:
        self.tape, self.rows = tape, rows


class Wave:
    """Some lanes, until all have ended."""

    def __init__(self, problem: Problem, lanes: list[Lane]) -> None:
        self._problem = problem
        self.lanes = lanes

    def run(self) -> None:
        try:
            self._look()
            self._resume(self.lanes)
            while waiting := self._waiting():
                if backward := [lane for lane in waiting if lane.weights is not None]:
                    self._go_back(backward)
                for differentiates in (False, True):
                    forward = [lane for lane in waiting if lane.asks is not None]
                    forward = [lane for lane in forward if lane.differentiates == differentiates]
                    if forward:
                        self._ask(forward, differentiates)
                self._look()
                self._resume(waiting)
        finally:
            for lane in self.lanes:
                lane.end()

    def _look(self) -> None:
        """Who goes on and who has won: one wait for a device in every round."""
        self._active, self._won = torch.stack((self._problem._active, self._problem._won)).tolist()

    def _resume(self, lanes: list[Lane]) -> None:
        """One after the other; whose example has won needs to hear of nothing more."""
        mine = Chance.now()  # a randomised target's
        try:
            for lane in lanes:
                if self._won[lane.place]:
                    lane.end()
                else:
                    lane.resume()
        finally:
            mine.restore()

    def _waiting(self) -> list[Lane]:
        """Those that ask something; whose budget is spent is ended instead, unless the pass it asks back was paid."""
        for lane in self.lanes:
            if not (lane.ended or self._active[lane.place] or lane.weights is not None):
                lane.end()
        return [lane for lane in self.lanes if not lane.ended]

    def _ask(self, lanes: list[Lane], differentiates: bool) -> None:
        x = self._problem.images
        asked = [lane.asks for lane in lanes if lane.asks is not None]
        counts = [len(images) for images in asked]
        places = [lane.place for lane, count in zip(lanes, counts, strict=True) for _ in range(count)]
        of = torch.tensor(places, device=x.device)
        p = torch.cat([images.to(x.dtype) for images in asked]).to(x.device) - x[of]
        tape = None
        if differentiates:
            tape = Tape.of_pass(self._problem, p, of)
            logits = tape.logits
        elif Access.LOGITS in self._problem._access:
            logits = self._problem.logits(p, of)
        else:
            logits = F.one_hot(self._problem.labels(p, of), self._problem.classes)
        first = 0
        for lane, count, rows in zip(lanes, counts, torch.split(logits.cpu(), counts), strict=True):
            lane.answer, lane.asks = rows.clone(), None
            lane.tape = None if tape is None else Taped(tape, slice(first, first + count))
            first += count

    def _go_back(self, lanes: list[Lane]) -> None:
        """Lanes that ask about the same pass are answered by one pass back."""
        tapes = {id(lane.tape.tape): lane.tape.tape for lane in lanes if lane.tape is not None}
        for tape in tapes.values():
            of_it = [(lane, lane.tape.rows) for lane in lanes if lane.tape is not None and lane.tape.tape is tape]
            weights = torch.zeros_like(tape.logits)
            wanted = torch.zeros(len(weights), dtype=torch.bool, device=weights.device)
            for lane, rows in of_it:
                assert lane.weights is not None
                weights[rows] = lane.weights.to(weights.device, weights.dtype)
                wanted[rows] = True
            gradient = tape.gradient(weights, wanted).cpu()
            for lane, rows in of_it:
                lane.answer, lane.weights, lane.tape = gradient[rows].clone(), None, None
