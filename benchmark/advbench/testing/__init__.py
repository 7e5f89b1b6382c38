"""The conformance kit: what every plugin must do, tried on tiny images; ours and strangers' alike."""

from advbench.testing.check import Check, Checked, NotHere, run_checks
from advbench.testing.entrants import checks

__all__ = ["Check", "Checked", "NotHere", "checks", "run_checks"]
