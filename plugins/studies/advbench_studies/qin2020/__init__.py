"""Qin et al., 2020, arXiv:1907.02957: reproduced on MNIST and Fashion-MNIST."""

from advbench_studies.qin2020.study import Qin2020

__all__ = ["Qin2020"]
