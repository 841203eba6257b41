"""Processes that inherit nothing, and where it can be had start in a moment.

They are forked by a server that has imported torch once, and does nothing else: not from a process that may
have threads or hold a GPU.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

HAS_SERVER = "forkserver" in multiprocessing.get_all_start_methods()
# The second is imported by the first optimiser that a process makes, and takes as long as torch itself.
MODULES = ["rigl.campaign.work", "torch._dynamo"]


def warm() -> None:
    """Let the server begin to import, while this process goes on."""
    if HAS_SERVER:
        multiprocessing.get_context("forkserver").set_forkserver_preload(MODULES)
        _ensure_server()


def start(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A process that runs ``target(*arguments)`` and hears of no Ctrl-C or SIGTERM, which reach a whole group
    of processes. Raises OSError or EOFError where the server has died."""
    if not HAS_SERVER:
        process: BaseProcess = multiprocessing.get_context("spawn").Process(
            target=target, args=arguments, daemon=True
        )
        process.start()
        return process
    _ensure_server()
    with held():
        process = multiprocessing.get_context("forkserver").Process(
            target=target, args=arguments, daemon=True
        )
        process.start()
    return process


def _ensure_server() -> None:
    from multiprocessing import forkserver

    with held():
        forkserver.ensure_running()


@contextmanager
def held() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back: whatever starts now does not hear of them, and they come afterwards."""
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # when it starts, it lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def heard(do: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM call `do` in place of killing; only a main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: do()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
