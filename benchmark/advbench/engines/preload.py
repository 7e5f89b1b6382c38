"""What every process of an engine needs, loaded once by the process from which they are forked."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # no thread may be running when a process is forked

import torch

from advbench.plugins.discovery import discover

torch.set_num_threads(1)
try:
    discover()
except Exception:  # a broken plugin is told by the process that runs
    pass
