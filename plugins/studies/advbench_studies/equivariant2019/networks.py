"""The paper's networks and attacks, and which entrants stand for them."""

from __future__ import annotations

from advbench import Wanted

DATA = "mnist(rotated=true)"
"""The test digits, each turned by an angle of its own in ±180°."""
NETWORKS = {
    "StdCNN": Wanted(DATA, "std-cnn", "augment"),
    "GCNN": Wanted(DATA, "gcnn", "augment"),
    "RotEqNet": Wanted("mnist-5k", "roteqnet", "augment"),
}
"""Trained on digits turned by any angle: the first two on 55,000, RotEqNet on the 3,500 of `mnist-5k`, which its
shipped weights are from. All are asked about the same turned test digits, none of which any of them was trained on."""
ATTACKS = ("gradient", "FGSM", "DeepFool")
FOOLED = ("StdCNN", "GCNN")
"""Those whose fooling the paper shows."""
SMALL = 4.0
"""A norm for `small`, which the paper's text has no number for: less than half of an image's mean norm, about 8.8."""
