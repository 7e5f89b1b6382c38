"""Adversarial Examples for CNNs (D'Costa and Sriramanan, 2019)."""

from advbench_studies.dcosta2019.study import DCosta2019

__all__ = ["DCosta2019"]
