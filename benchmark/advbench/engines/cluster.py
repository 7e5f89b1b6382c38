"""The engine that performs tasks on a Ray cluster: where it is, whether it answers, and what it has."""

from __future__ import annotations

import importlib.util
import os
import secrets
import socket
import subprocess
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch

from advbench.engines.cluster_crew import ClusterCrew
from advbench.errors import AdvbenchError, one_line, printable
from advbench.plugins.muster import Muster

LOCAL = "local"
"""An address: a cluster of this machine alone, started for the run and ended with it."""
OURS = "advbench at "
"""How the namespace of a connection begins that was made here; whoever calls us may have one of their own."""
STORE = 1 << 30
"""Bytes of shared memory for networks and results on a machine where we start Ray; what is more goes to its disk."""
PATIENCE = 5.0
"""Seconds until somebody has to answer at an address."""
ENTERED = 30.0
"""Seconds until a cluster has to have let us in."""
ENTER = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR')"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""How HTTP/2 begins, which Ray speaks: who does not answer in kind is asked nothing more."""
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # who has asked for no GPU sees none
}
"""Read when Ray is imported; what a user has set is kept."""
EVERYWHERE = ("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO",)
"""Those that workers have to go by, too, on whatever node."""


@dataclass(frozen=True)
class Cluster:
    """So many actors on a Ray cluster, each on a core of its own, or on a GPU."""

    address: str
    workers: int
    accelerated: bool = False
    expected: Muster | None = None
    """What every node has to have; None for what this process has, whatever the plugins."""

    def crew(self) -> ClusterCrew:
        connect(self.address, self.workers)
        expected = self.expected or Muster.here()
        crew = ClusterCrew(ray_here(), self.workers, self.accelerated, expected, self.address, disconnect)
        crew.start()
        return crew


def cluster(
    address: str | None,
    device: torch.device,
    jobs: int | None,
    *,
    tasks: int,
    cores: int,
    expected: Muster | None = None,
) -> Cluster:
    """A cluster that answers and has what the device asks for; no more of its actors than jobs or tasks.

    `cores` are those of this machine, which are used where no address is given.
    """
    if device.type != "cpu" and device.index:
        raise AdvbenchError(f"device {device}: on Ray every worker sees its own GPU as the first; give {device.type}")
    where = address or os.environ.get("RAY_ADDRESS") or LOCAL
    most = max(1, min(tasks, tasks if jobs is None else jobs))
    new = connect(where, min(most, cores) if jobs is None else most)
    resources = ray_here().cluster_resources()
    cores, devices = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    accelerated = device.type != "cpu"
    there = min(cores, devices) if accelerated else cores
    if there < 1:
        if new:
            disconnect()
        lacking = "GPU" if accelerated and devices < 1 else "CPU"
        remedy = "--device cpu computes without, or start nodes with `ray start --num-gpus=…`"
        if lacking == "CPU":
            remedy = "start nodes with `ray start --num-cpus=…`"
        raise AdvbenchError(
            f"Ray cluster at {where}: it has no {lacking}, but {cores} CPUs and {devices} GPUs: {remedy}"
        )
    return Cluster(where, min(there, most), accelerated, expected)


def ray_here() -> ModuleType:
    """Ray, with our settings, which it reads when it is imported: where it is already, somebody else has set it up."""
    if importlib.util.find_spec("ray") is None:
        raise AdvbenchError('Ray is not installed: pip install "advbench[ray]"')
    if "ray" not in sys.modules:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
    return importlib.import_module("ray")


def connect(address: str, cores: int) -> bool:
    """Be connected to this cluster, and say whether that is new.

    A connection that whoever calls us has made is used as it is.
    """
    ray = ray_here()
    if ray.is_initialized() and (not _ours(ray) or ray.get_runtime_context().namespace == OURS + address):
        return False
    how: dict[str, Any] = {
        "namespace": OURS + address,
        "log_to_driver": False,
        "logging_level": "ERROR",
        "runtime_env": {"env_vars": {name: os.environ.get(name, SETTINGS[name]) for name in EVERYWHERE}},
    }
    if address == LOCAL:
        _take_a_token()
        how |= {"num_cpus": cores, "include_dashboard": False, "object_store_memory": STORE}
    else:
        _refuse_the_silent(ray, address)
        _try_to_enter(address)
    disconnect()
    try:
        ray.init(address=address, **how)
    except Exception as error:
        ray.shutdown()
        what = "Ray can't be started here" if address == LOCAL else f"Ray cluster at {address}: it can't be entered"
        raise AdvbenchError(f"{what}: {one_line(error)}") from error
    _hush(ray)
    return True


def disconnect() -> None:
    """Leave a cluster that we have entered; one of our own ends with that."""
    ray = ray_here()
    if ray.is_initialized() and _ours(ray):
        ray.shutdown()


def _hush(ray: ModuleType) -> None:
    """Ray prints what befalls workers into whatever is shown, asked or not; here their tasks tell it."""
    worker = ray._private.worker
    printed = getattr(worker, "print_to_stdstream", None)
    if printed is None or printed.__module__ == __name__:
        return

    def unless_ours(*data: Any, **how: Any) -> None:
        if not (ray.is_initialized() and _ours(ray)):
            printed(*data, **how)

    worker.print_to_stdstream = unless_ours


def _ours(ray: ModuleType) -> bool:
    return str(ray.get_runtime_context().namespace).startswith(OURS)


def _take_a_token() -> None:
    """A secret of this run's own, unless there is one, so that nobody else of this machine is let in."""
    if os.environ.get("RAY_AUTH_MODE") == "token" and "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _refuse_the_silent(ray: ModuleType, address: str) -> None:
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise AdvbenchError(
            f"Ray cluster at {address}: give HOST:PORT of its head, as in 10.0.0.1:6379, or auto; the run itself has "
            "to be on a machine of the cluster"
        )
    host = host.strip("[]")
    asked = ray.util.get_node_ip_address() if host in LOOPBACK else host  # as Ray itself does
    try:
        with socket.create_connection((asked, int(port)), PATIENCE) as connection:
            connection.settimeout(PATIENCE)
            connection.sendall(GREETING)
            answer = connection.recv(9)
    except (OSError, OverflowError) as error:
        raise AdvbenchError(
            f"Ray cluster at {address}: nobody answers there ({error}); `ray status` on the head says whether it runs "
            "and where, and `ray start --head --port=6379` starts one"
        ) from error
    if answer[3:4] != b"\x04":
        raise AdvbenchError(f"Ray cluster at {address}: what answers there is none")


def _try_to_enter(address: str) -> None:
    """Have another process try first: where Ray can't enter, it goes on trying for minutes and writes about it."""
    command = [sys.executable, "-c", ENTER, address]
    retries = {"RAY_NUM_REDIS_GET_RETRIES": "3"}  # seconds for which a wrong token is shown again
    try:
        tried = subprocess.run(
            command,
            env={**os.environ, **retries},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ENTERED,
        )
    except subprocess.TimeoutExpired as late:
        raise AdvbenchError(f"Ray cluster at {address}: no cluster has answered within {ENTERED:.0f} seconds") from late
    if tried.returncode == 0:
        return
    if "no authentication token was found" in tried.stderr:
        problem = "there is no token here, without which it lets nobody in"
    elif "InvalidAuthToken" in tried.stderr:
        problem = "the token here is not the cluster's"
    else:
        told = [line for line in tried.stderr.splitlines() if line.strip()]
        raise AdvbenchError(
            f"Ray cluster at {address}: it can't be entered: {printable(' '.join(told[-1:]))[:500]}; this machine has "
            "to be one of its nodes (`ray start --address=…`), with the same Ray and Python"
        )
    raise AdvbenchError(
        f"Ray cluster at {address}: {problem}: copy ~/.ray/auth_token from its head, or set RAY_AUTH_TOKEN; "
        "RAY_AUTH_MODE=disabled is for a cluster without"
    )
