"""Hitting Depth (Billovits, Eric and Agarwala, 2016)."""

from advbench_studies.billovits2016.study import Billovits2016 as Billovits2016
