"""Which Dask cluster a campaign runs on: as text or a file, checked before anything of Dask's is imported."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rigl.training.config import ConfigError, check_names

HOW = "give local:N, tcp://SCHEDULER:PORT or a file such as slurm.yaml"
# What the file may say besides the arguments of dask_jobqueue.SLURMCluster.
OURS = ("jobs", "adapt")
LIMITS = ("minimum_jobs", "maximum_jobs")
# Arguments that are for programs, not for a file.
INNER = {
    "self",
    "n_workers",
    "job_cls",
    "loop",
    "asynchronous",
    "scheduler",
    "scheduler_cls",
    "config_name",
}
GPU = "GPU"


@dataclass(frozen=True)
class Where:
    """A cluster: `workers` processes of this machine; else a scheduler's `address`; else `jobs` of Slurm, at
    least and at most, with `slurm`, the arguments of dask_jobqueue.SLURMCluster."""

    text: str
    workers: int = 0
    address: str | None = None
    jobs: tuple[int, int] = (0, 0)
    slurm: dict[str, Any] = field(default_factory=dict)

    @property
    def local(self) -> bool:
        return self.workers > 0


def parse(text: str) -> Where:
    """What ``--cluster`` says: ``local:N``, a scheduler's address, or a YAML file for Slurm.

    Raises ConfigError, one line, for what is none of these, and where Dask is not installed.
    """
    if local := re.fullmatch(r"local:([1-9]\d*)", text):
        where = Where(text, workers=int(local[1]))
    elif re.fullmatch(r"[a-z]+://[^\s/]+:\d+", text):
        where = Where(text, address=text)
    elif Path(text).suffix in (".yaml", ".yml"):
        _need("distributed", "dask_jobqueue")
        return _read(text)
    else:
        raise ConfigError(f"cluster {text!r} is none: {HOW}")
    _need("distributed")
    return where


def _need(*names: str) -> None:
    if missing := [name.replace("_", "-") for name in names if find_spec(name) is None]:
        raise ConfigError(f'--cluster needs {" and ".join(missing)}: pip install -e ".[cluster]"')


def slurm_arguments() -> set[str]:
    """The arguments of dask_jobqueue.SLURMCluster that a file can give."""
    from dask_jobqueue.core import Job, JobQueueCluster
    from dask_jobqueue.slurm import SLURMJob

    each = [inspect.signature(kind.__init__).parameters for kind in (JobQueueCluster, Job, SLURMJob)]
    names = {name for some in each for name in some}
    return {name for name in names if not name.endswith("kwargs")} - INNER


def connect(where: Where, devices: Sequence[str]) -> Any:
    """The cluster, begun here, or the address of the one that is there. Raises ConfigError where its
    arguments do not fit."""
    if where.local:
        return _begin_local(where.workers, devices)
    return where.address or begin_slurm(where, devices)


def begin_slurm(where: Where, devices: Sequence[str] = ()) -> Any:
    """The dask_jobqueue.SLURMCluster, which has sent no job yet. Raises ConfigError."""
    from dask_jobqueue.slurm import SLURMCluster

    if any(device.startswith("cuda") for device in devices) and f"{GPU}=" not in str(where.slurm):
        raise ConfigError(f'{where.text}: device cuda needs worker_extra_args: ["--resources", "{GPU}=1"]')
    try:
        return SLURMCluster(**where.slurm)
    except Exception as error:  # whatever it makes of arguments that do not fit
        raise ConfigError(f"{where.text}: {' '.join(str(error).split())}") from None


def _begin_local(workers: int, devices: Sequence[str]) -> Any:
    import torch
    from distributed import LocalCluster

    on_gpu = any(device.startswith("cuda") for device in devices)
    if on_gpu and workers > len(devices):
        raise ConfigError(f"local:{workers} needs a GPU for each worker, and {','.join(devices)} is fewer")
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=max(1, torch.get_num_threads() // workers),
        resources={GPU: 1} if on_gpu else None,
        memory_limit=0,  # or Dask pauses workers, and kills them, by its own idea of how much is too much
        dashboard_address=None,
        silence_logs=logging.CRITICAL,  # the runner says what matters
    )


def _read(text: str) -> Where:
    import yaml

    try:
        said = yaml.safe_load(Path(text).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cluster {text!r} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(said, dict) or not all(isinstance(key, str) for key in said):
        raise ConfigError(f"{text}: should say 'name: value', a line each")
    jobs, adapt = (said.pop(name, None) for name in OURS)
    if (jobs is None) == (adapt is None):
        raise ConfigError(f"{text}: say either 'jobs: N' or 'adapt: {{minimum_jobs: M, maximum_jobs: N}}'")
    if adapt is None:
        adapt = dict.fromkeys(LIMITS, jobs)
    if not isinstance(adapt, dict) or set(adapt) != set(LIMITS):
        raise ConfigError(f"{text}: adapt needs {' and '.join(LIMITS)}")
    low, high = (adapt[name] for name in LIMITS)
    if not all(type(n) is int for n in (low, high)) or not 0 <= low <= high or high < 1:
        raise ConfigError(f"{text}: jobs are whole numbers from 1 on, and no more at least than at most")
    try:
        check_names(set(said), slurm_arguments())
    except ConfigError as error:
        raise ConfigError(f"{text}: {error}") from None
    return Where(text, jobs=(low, high), slurm=said)
