"""What the paper proves, beside what is so: how many directions a top eigenvector meets, how few samples find it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from advbench import Finding, Findings, Series, mean
from advbench_studies.equivariant2019.spectra import spectrum, told

DELTAS = 20
"""Theorem 1 says nothing from the root of the eigenvalue on; so many steps lead there."""


def aligned_share(rows: Tensor, v: Tensor, delta: float) -> float:
    """The share of unit rows whose dot product with v is at least delta, whatever its sign."""
    return float(((rows @ v).abs() >= delta).double().mean())


def least_share(eigenvalue: float, delta: float) -> float:
    """What theorem 1 promises: (λ − δ²) / (1 − δ²), or nothing."""
    if delta >= 1:
        return 0.0
    return max(0.0, (eigenvalue - delta**2) / (1 - delta**2))


def least_excess(rows: Tensor, v: Tensor, eigenvalue: float) -> float:
    """By how much the share is above what is promised, where it is so by the least."""
    deltas = [math.sqrt(eigenvalue) * place / DELTAS for place in range(1, DELTAS)]
    return min(aligned_share(rows, v, delta) - least_share(eigenvalue, delta) for delta in deltas)


def theorem_1(attack: str, rows: Tensor) -> Findings:
    """On all rows, of which the theorem speaks; and with the eigenvector of one half on the other half."""
    rows = told(rows)
    whole = spectrum(rows, 1)
    eigenvalue, v = float(whole.squares[0]) / len(rows), whole.vectors[0]
    deltas = [math.sqrt(eigenvalue) * place / DELTAS for place in range(1, DELTAS)]
    one, other = rows[::2], rows[1::2]
    half = spectrum(one, 1)
    there = least_excess(other, half.vectors[0], float(half.squares[0]) / len(one)) if len(other) else None
    special, printed = math.sqrt(eigenvalue / 2), eigenvalue / 2
    n = len(rows)
    return Findings(
        (
            Finding(f"theorem 1: least excess · {attack}", least_excess(rows, v, eigenvalue), n=n),
            Finding(f"theorem 1: least excess on the other half · {attack}", there, n=len(other)),
            Finding(f"theorem 1: λ/2 promised · {attack}", printed, n=n),
            Finding(f"theorem 1: share at δ = √(λ/2) · {attack}", aligned_share(rows, v, special), n=n),
            Finding(f"theorem 1: share at δ = λ/2 · {attack}", aligned_share(rows, v, printed), n=n),
        ),
        (
            Series.of(f"theorem 1: {attack}, so many", [(d, aligned_share(rows, v, d)) for d in deltas]),
            Series.of(f"theorem 1: {attack}, promised", [(d, least_share(eigenvalue, d)) for d in deltas]),
        ),
    )


def theorem_2(
    attack: str, rows: Tensor, sizes: tuple[int, ...], picks: Callable[[int, int], Tensor], times: int
) -> Findings:
    """‖v − ṽ‖ by the number of sampled rows, beside ε / (γ − ε) with the ε that was met, where ε is below the gap γ.

    `picks(size, time)` are places of rows, drawn independently and so with repetitions, as in the theorem.
    """
    rows = told(rows)
    pixels = rows.shape[1]
    if len(rows) < pixels:  # nothing happens outside of their span
        rows = rows @ torch.linalg.qr(rows.T).Q
    count = len(rows)
    gram = rows.T @ rows / count
    squares, sides = torch.linalg.eigh(gram)
    v, gap = sides[:, -1], float(squares[-1] - squares[-2])
    numbers: list[Finding] = []
    distances, bounds = [], []
    spoke = broken = 0
    for size in sizes:
        found, errors, cosines = [], [], []
        for time in range(times):
            sample = rows[picks(size, time) % count]
            near = spectrum(sample, 1).vectors[0]
            cosine = min(1.0, float((v @ near).abs()))
            error = float(torch.linalg.eigvalsh(gram - sample.T @ sample / size).abs().max())
            found.append(math.sqrt(max(0.0, 2 - 2 * cosine)))
            errors.append(error)
            cosines.append(cosine)
            spoke += error < gap
            broken += error < gap and found[-1] > error / (gap - error)
        distance = mean(f"theorem 2: distance · {attack} · {size:,} inputs", found)
        numbers += [distance, mean(f"theorem 2: cosine · {attack} · {size:,} inputs", cosines)]
        distances.append((size, *_with_interval(distance)))
        middle = math.fsum(errors) / times
        if middle < gap:
            bounds.append((size, middle / (gap - middle)))
    needed = pixels * math.log(pixels) / gap**2 if gap > 0 else math.inf
    numbers += [
        Finding(f"theorem 2: eigengap · {attack}", gap, n=count),
        Finding(f"theorem 2: draws with ε below the gap · {attack}", spoke, n=times * len(sizes)),
        Finding(f"theorem 2: of them above the bound · {attack}", broken if spoke else None, n=spoke),
        Finding(f"theorem 2: inputs from which on it speaks · {attack}", needed, n=count),
    ]
    series = [Series.of(f"theorem 2: {attack}, distance", distances)]
    if bounds:
        series.append(Series.of(f"theorem 2: {attack}, bound", bounds))
    return Findings(tuple(numbers), tuple(series))


def _with_interval(one: Finding) -> tuple[float, ...]:
    value = float("nan") if one.value is None else one.value
    return (value,) if one.low is None or one.high is None else (value, one.low, one.high)
