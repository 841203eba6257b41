"""Handling of Ctrl-C, SIGTERM and a time limit, by the main process only and not by its workers."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

BOTH = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held() -> Iterator[None]:
    """Block both signals, also in processes and threads started meanwhile; deliver them on exit."""
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # its start would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, BOTH)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def heard(stop: Callable[[], None], say: Callable[[str], None], after: float | None = None) -> Iterator[None]:
    """Call `stop` on the first signal, and `say` so; raise KeyboardInterrupt on the second, or `after` some
    seconds. Has no effect outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked: list[int] = []

    def handle(number: int, _: object) -> None:
        if asked or number == signal.SIGALRM:
            raise KeyboardInterrupt
        asked.append(number)
        stop()
        say("stopping after the current epochs; interrupt again to stop at once")

    before = {number: signal.signal(number, handle) for number in (*BOTH, signal.SIGALRM)}
    if after is not None:
        signal.setitimer(signal.ITIMER_REAL, max(after, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
