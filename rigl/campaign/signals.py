"""Ctrl-C and SIGTERM: heeded once by the process that a user started, and by none of its workers."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

BOTH = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held() -> Iterator[None]:
    """Hold both back: whatever process or thread starts now never hears of them; they come afterwards."""
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # when it starts, it lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, BOTH)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def heard(ask: Callable[[], None], after: float | None = None) -> Iterator[None]:
    """Let the first of them call `ask`, and raise KeyboardInterrupt at the second one, or `after` so many
    seconds. Only a main thread can; elsewhere nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked: list[int] = []

    def handle(number: int, _: object) -> None:
        if asked or number == signal.SIGALRM:
            raise KeyboardInterrupt
        asked.append(number)
        ask()

    before = {number: signal.signal(number, handle) for number in (*BOTH, signal.SIGALRM)}
    if after is not None:
        signal.setitimer(signal.ITIMER_REAL, max(after, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
