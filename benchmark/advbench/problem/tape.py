"""A pass of a problem whose gradients are asked for afterwards, by whoever has made a loss of its logits meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench.access import Access
from advbench.errors import PluginError
from advbench.problem.problem import Problem


@dataclass(frozen=True)
class Piece:
    """One batch of the pass, with its graph."""

    rows: Tensor
    """Places in the question; the batch may have more rows, which repeat the last."""
    q: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Tape:
    """Its graph lives as long as the tape: whoever is given one lets it go."""

    problem: Problem
    p: Tensor
    of: Tensor
    logits: Tensor
    """Without a graph, a row for every row of p: the last known ones where an example is not asked any more."""
    pieces: tuple[Piece, ...]

    @classmethod
    def of_pass(cls, problem: Problem, p: Tensor, of: Tensor) -> Tape:
        """A forward pass for every row, counted and remembered like any other; the host may wait for the device."""
        problem._require(Access.GRADIENTS)
        problem._check_time()
        asked = problem._question(of, len(p))
        pieces: list[Piece] = []
        parts: list[Tensor] = []
        for batch, retry in asked.in_batches(problem._batch, problem._x, problem._goal):
            with retry:
                q = batch.of(p).detach().requires_grad_()
                with torch.enable_grad():
                    images = problem._apply(batch.x, q)
                    logits = problem._ask(images)
                if not logits.requires_grad:
                    raise PluginError("no gradient flows from the answers back to the image; the target cuts it off")
                told = logits.detach()[: batch.real]
                problem._look(asked, batch, p, q.detach(), images.detach(), told, None)
                pieces.append(Piece(batch.rows[: batch.real], q, logits))
                parts.append(told)
        answers = problem._known(asked, parts, None)
        problem._owe(asked)
        problem._find_active()
        return cls(problem, p, of, answers, tuple(pieces))

    def gradient(self, weights: Tensor, wanted: Tensor) -> Tensor:
        """The gradient of `(logits * weights).sum()` by p: a backward pass for every row that is wanted and was asked.

        Others' weights are zero, and so are their gradients.
        """
        self.problem._check_time()
        self.problem._pay()
        gradient = torch.zeros_like(self.p)
        for piece in self.pieces:
            asked = piece.rows[wanted[piece.rows]]
            if len(asked) == 0:
                continue
            given = torch.zeros_like(piece.logits)
            given[: len(piece.rows)] = weights[piece.rows].to(given.dtype)
            (part,) = torch.autograd.grad(piece.logits, piece.q, given, retain_graph=True)
            gradient[piece.rows] = part[: len(piece.rows)]
            self.problem._backwards.index_add_(0, self.of[asked], torch.ones_like(asked))
        return gradient
