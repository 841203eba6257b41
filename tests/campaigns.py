"""Small runs, and what happens to a campaign while it goes on."""

import importlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from rigl.training.checkpoints import checkpoint_of, lock_of
from rigl.training.config import RunConfig

SMALL = {"model": "lenet-300-100", "delta_t": 20, "density": 0.2}


def config(method="rigl", **knobs):
    return RunConfig(**{**SMALL, "epochs": 1, "method": method, **knobs})


def holder(run, results):
    """The process that trains `run`, by the lock that it holds; None where none does."""
    with suppress(FileNotFoundError):
        inode = lock_of(run, results).stat().st_ino
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if words[1] != "->" and words[5].endswith(f":{inode}"):
                return int(words[4])
    return None


def wait_for(what, seconds=120):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return found


def mid_run(run, results):
    """Wait until a process has done an epoch of `run`; its number."""
    wait_for(checkpoint_of(run, results).exists)
    return wait_for(lambda: holder(run, results))


def dask_command(part, options, log):
    """Dask's command for a scheduler or a worker, in this process."""
    os.chdir(log.parent)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 2)
    importlib.import_module(f"distributed.cli.dask_{part}").main(list(map(str, options)))


@contextmanager
def meanwhile(do):
    """Something that happens in a thread while the block runs."""
    with ThreadPoolExecutor() as pool:
        done = pool.submit(do)
        yield
        done.result()


def members(group):
    """Processes of a group that are more than an entry in a table."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, its, *_ = path.read_text().rpartition(")")[2].split()
            found += [int(path.parent.name)] if int(its) == group and state != "Z" else []
    return [pid for pid in found if pid != os.getpid()]
