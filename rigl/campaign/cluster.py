"""Dask clusters for training: on this machine, at a scheduler's address, or on Slurm."""

from __future__ import annotations

import logging
import multiprocessing
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rigl.campaign.request import need
from rigl.campaign.signals import held
from rigl.training.config import ConfigError, OneLineError, brief, shown

if TYPE_CHECKING:
    from distributed import Client

# A run that has lost this many workers in a row is assumed to have killed them.
DEATHS = 5
CONNECT = 10.0  # seconds
# Worker processes are forked from a server that has imported torch. torch._dynamo is imported by a process's
# first optimiser, which takes as long as importing torch.
METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
PRELOAD = ["distributed.nanny", "distributed.worker", "rigl.campaign.tasks", "torch._dynamo"]
GPU = "GPU"


class WorkerError(OneLineError, RuntimeError):
    """No worker is available."""


class Adapt(BaseModel):
    """Minimum and maximum number of Slurm jobs; Dask submits as many as there are runs."""

    model_config = ConfigDict(extra="forbid")
    minimum_jobs: int = Field(ge=0)
    maximum_jobs: int = Field(ge=1)

    @model_validator(mode="after")
    def _check(self) -> Adapt:
        if self.minimum_jobs > self.maximum_jobs:
            raise ValueError(
                f"minimum_jobs={self.minimum_jobs} is more than maximum_jobs={self.maximum_jobs}"
            )
        return self


class Slurm(BaseModel):
    """A file such as ``slurm.yaml``: the number of jobs and the arguments of SLURMCluster."""

    model_config = ConfigDict(extra="allow")
    jobs: int | None = Field(None, ge=1)
    adapt: Adapt | None = None

    @model_validator(mode="after")
    def _check(self) -> Slurm:
        if (self.jobs is None) == (self.adapt is None):
            raise ValueError("set either 'jobs: N' or 'adapt: {minimum_jobs: M, maximum_jobs: N}'")
        return self


def check(text: str | None) -> Slurm | None:
    """Check the value of ``--cluster``: None for this machine, a scheduler's address or a YAML file.

    Returns the content of the file. Raises ConfigError for anything else, and if Dask is not installed.
    """
    need("distributed", "several workers need")
    if text is None or re.fullmatch(r"[a-z]+://[^\s/]+:\d+", text):
        return None
    if Path(text).suffix not in (".yaml", ".yml"):
        local = re.fullmatch(r"local:(\d+)", text)
        hint = f"--workers {local[1]}" if local else "tcp://SCHEDULER:PORT or a file such as slurm.yaml"
        raise ConfigError(f"cluster {shown(text)} is unknown: give {hint}")
    need("dask_jobqueue", "several workers need")
    import yaml

    try:
        return Slurm.model_validate(yaml.safe_load(Path(text).read_text()))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        ours = first["type"] == "value_error"  # its message is complete
        given = "" if ours or first["type"] == "missing" else f"={shown(first['input'])}"
        reason = first["msg"].removeprefix("Value error, ")
        reason = reason if ours else f"{brief(name)}{given}: {reason}"
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = f"cannot be read: {error}"
    raise ConfigError(f"cluster {text!r}: {brief(reason, 200)}")


@contextmanager
def connect(text: str | None, *, workers: int, lanes: int, device: str) -> Iterator[Client]:
    """A client of the cluster `text`, or of `workers` local processes with `lanes` threads each.

    Everything that was started is closed on exit. Raises ConfigError for invalid arguments and WorkerError if
    the scheduler does not answer.
    """
    import dask
    from distributed import Client, LocalCluster

    slurm, cluster = check(text), None
    settings: dict[str, Any] = {
        "distributed.worker.multiprocessing-method": METHOD,
        "distributed.scheduler.allowed-failures": DEATHS - 1,
        "distributed.scheduler.worker-saturation": 1.0,  # queue runs at the scheduler, not at busy workers
        "distributed.nanny.pre-spawn-environ": {},  # Dask's makes malloc slow
        # Dask's profiler and monitors take a twelfth of a core in each process.
        "distributed.worker.profile.enabled": False,
        "distributed.admin.tick.interval": "1s",
        "distributed.admin.system-monitor.interval": "10s",
    }
    # Ctrl-C reaches the whole process group, but only this process should handle it.
    with dask.config.set(settings):
        with held():
            if slurm is not None:
                cluster = begin_slurm(str(text), slurm, device)
            elif text is None:
                warm()
                cluster = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=lanes,
                    memory_limit=0,  # Dask would kill large workers
                    dashboard_address=":0",  # any free port: None would ask for 8787, and warn if it is taken
                    silence_logs=logging.CRITICAL,
                )
            try:
                client = Client(cluster or text, timeout=CONNECT, set_as_default=False)
            except (OSError, ValueError) as error:
                reason = " ".join(str(error).split())
                raise WorkerError(f"no Dask scheduler answers at {text} ({reason})") from None
        try:
            yield client
        finally:
            _close(client, 5)
            if cluster is not None:
                _close(cluster, 10)


def _close(what: Any, timeout: float) -> None:
    """Close a client or cluster, whose scheduler may be gone, and however often somebody interrupts that."""
    with suppress(Exception):
        try:
            what.close(timeout=timeout)
        except KeyboardInterrupt:
            _close(what, timeout)


def warm() -> None:
    """Start importing in the fork server, without waiting for it."""
    if METHOD == "forkserver":
        from multiprocessing import forkserver

        multiprocessing.set_forkserver_preload(PRELOAD)
        with held():
            forkserver.ensure_running()


def begin_slurm(text: str, slurm: Slurm, device: str) -> Any:
    """Create the SLURMCluster of a file and submit its jobs. Raises ConfigError for invalid arguments."""
    from dask_jobqueue.slurm import SLURMCluster

    arguments = slurm.model_extra or {}
    if "cuda" in device and f"{GPU}=" not in str(arguments):
        raise ConfigError(f'{text}: device cuda needs worker_extra_args: ["--resources", "{GPU}=1"]')
    try:
        cluster = SLURMCluster(**arguments)
    except Exception as error:  # many kinds, for invalid arguments
        raise ConfigError(f"{text}: {brief(error, 300)}") from None
    if slurm.adapt:
        cluster.adapt(**slurm.adapt.model_dump())
    else:
        cluster.scale(jobs=slurm.jobs)
    return cluster
