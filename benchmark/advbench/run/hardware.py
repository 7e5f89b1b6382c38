"""The machine and the versions that a run took place on, and the settings that make it repeatable."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from advbench.errors import AdvbenchError
from advbench.plugins.sources import core_digest
from advbench.threads import settle


def choose_device(name: str = "auto") -> torch.device:
    """A GPU where there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()  # `meta` can be named, but computes nothing
    except (RuntimeError, AssertionError, ValueError, NotImplementedError):
        there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        raise AdvbenchError(f"no device {name!r} here; there are: {', '.join(there)}") from None
    return device


def make_repeatable() -> dict[str, Any]:
    """Turn off what makes two runs differ, and say what is on."""
    settle()
    return {"cudnn deterministic": True, "tf32": False, "threads": torch.get_num_threads()}


def describe_versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "advbench": version("advbench"),
        "core": core_digest(),
        **({"cuda": str(torch.version.cuda)} if torch.cuda.is_available() else {}),
    }


def describe_hardware(device: torch.device) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "device": str(device),
    }
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def _cpu_name() -> str:
    if sys.platform == "linux":
        with Path("/proc/cpuinfo").open() as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
