"""Small runs, and what happens to a campaign while it goes on."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from rigl.campaign import journal
from rigl.training.config import RunConfig

SMALL = {"model": "lenet-300-100", "delta_t": 20, "density": 0.2}


def config(method="rigl", **knobs):
    return RunConfig(**{**SMALL, "epochs": 1, "method": method, **knobs})


def events(results, event, name=None):
    """The lines of a journal about `event`, of the run called `name` or of all."""
    return [e for e in journal.notes(results) if e["event"] == event and name in (None, e["run"])]


def wait_for(what, seconds=120):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@contextmanager
def meanwhile(do):
    """Something that happens in a thread while the block runs."""
    with ThreadPoolExecutor() as pool:
        done = pool.submit(do)
        yield
        done.result()
