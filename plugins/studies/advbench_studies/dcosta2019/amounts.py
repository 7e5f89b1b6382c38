"""How much each level computes."""

from __future__ import annotations

from dataclasses import dataclass

from advbench import Level


@dataclass(frozen=True)
class Amounts:
    digits: int
    """Attacked in l∞, directed; by Wasserstein attacks `moved`, by grids `turned`, by the strongest ones `strong`."""
    moved: int
    turned: int
    strong: int
    worst: int
    """Digits of which every transform of the grid is asked about, to find the strongest."""
    photos: int
    photo_steps: int
    photo_rate: str
    """Adam's rate where the report's 0.001 would not lead to the ball's edge in so few steps."""
    strongest: str
    """What stands for the strongest attack in l∞ and l2."""
    minimal: tuple[str, ...]
    """Attacks beside it in l2, which look for the smallest perturbation."""
    universal: str
    first_order: str
    sinkhorn: str
    transport_pgd: str
    frank_wolfe: str
    sweep: tuple[float, ...]
    """Radii of figure 8."""
    tuned: tuple[float, ...]
    """Factors on the report's rates."""
    tried_photos: int
    """Of figures 2 and 18, and of the radii on photos."""
    ratio: float
    """Of a radius to the one before it, on digits; on photos `photo_ratio`."""
    photo_ratio: float


AMOUNTS: dict[Level, Amounts] = {
    "smoke": Amounts(
        digits=12,
        moved=4,
        turned=6,
        strong=8,
        worst=2,
        photos=3,
        photo_steps=12,
        photo_rate=", rate=0.002",
        strongest="apgd(steps=20, loss=dlr-targeted)",
        minimal=(),
        universal="universal-pgd(epochs=1)",
        first_order="pgd(steps=10)",
        sinkhorn="sinkhorn(steps=5, rounds=10)",
        transport_pgd="wasserstein-pgd(steps=10)",
        frank_wolfe="frank-wolfe(steps=20)",
        sweep=(0.2, 1.0),
        tuned=(),
        tried_photos=2,
        ratio=1.25,
        photo_ratio=20.0,
    ),
    "hour": Amounts(
        digits=500,
        moved=100,
        turned=300,
        strong=200,
        worst=100,
        photos=50,
        photo_steps=50,
        photo_rate="",
        strongest="autoattack",
        minimal=("brendel-bethge",),
        universal="universal-pgd",
        first_order="pgd(steps=100)",
        sinkhorn="sinkhorn",
        transport_pgd="wasserstein-pgd",
        frank_wolfe="frank-wolfe",
        sweep=(0.05, 0.1, 0.2, 0.4, 0.7, 1.0),
        tuned=(0.1, 10.0, 100.0),
        tried_photos=10,
        ratio=1.05,
        photo_ratio=1.5,
    ),
    "paper": Amounts(
        digits=10_000,
        moved=1_000,
        turned=10_000,
        strong=1_000,
        worst=1_000,
        photos=100,
        photo_steps=50,
        photo_rate="",
        strongest="autoattack",
        minimal=("brendel-bethge",),
        universal="universal-pgd",
        first_order="pgd(steps=100)",
        sinkhorn="sinkhorn",
        transport_pgd="wasserstein-pgd",
        frank_wolfe="frank-wolfe",
        sweep=(0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.4),
        tuned=(0.1, 0.3, 3.0, 10.0, 30.0, 100.0, 1000.0),
        tried_photos=50,
        ratio=1.03,
        photo_ratio=1.1,
    ),
}
