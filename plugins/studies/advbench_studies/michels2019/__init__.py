"""Michels et al. (2019, arXiv:1906.03612): are capsule networks more robust than convolutional ones?"""

from advbench_studies.michels2019.study import Michels2019 as Michels2019
