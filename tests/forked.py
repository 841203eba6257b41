"""Processes that need not import torch anew, which takes seconds."""

import multiprocessing
import os
import signal

from rigl.campaign import cluster


def forked(do, *arguments, **keywords):
    """``do(*arguments, **keywords)`` in a process, and a process group, of its own.

    As a campaign's workers, it is forked from one that has imported torch.
    """
    cluster.warm()
    context = multiprocessing.get_context(cluster.METHOD)
    process = context.Process(target=_alone, args=(do, arguments, keywords))
    process.start()
    return process


def _alone(do, arguments, keywords):
    os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # those that `cluster.warm` holds
    do(*arguments, **keywords)
