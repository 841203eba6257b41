"""Runs done by processes of this machine."""

from __future__ import annotations

import multiprocessing
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from rigl.campaign import processes, work
from rigl.campaign.crew import Gone, Lane
from rigl.campaign.work import Order


@dataclass(eq=False)
class Process:
    """A process, and what it is reached by."""

    process: BaseProcess
    line: Connection

    def send(self, order: Order) -> None:
        with suppress(OSError):
            self.line.send(order)

    def stop(self) -> None:
        with suppress(OSError):
            self.line.send("stop")

    def kill(self) -> None:
        self.process.kill()

    def close(self) -> None:
        self.process.kill()
        self.process.join()
        self.line.close()

    def hear(self) -> Any:
        try:
            return self.line.recv()
        except (EOFError, OSError):
            self.close()
            code = self.process.exitcode
            return Gone(f"by signal {-code}" if code and code < 0 else f"with status {code}")


@dataclass
class Local:
    """`count` processes at most, given `devices` in turn."""

    count: int
    results: str
    devices: list[str]
    data: str
    _lanes: list[Process] = field(default_factory=list)

    def start(self, index: int) -> Process:
        ours, theirs = multiprocessing.Pipe()
        device = self.devices[index % len(self.devices)]
        try:
            process = processes.start(work.worker, theirs, self.results, device, self.data, self.count)
        except (OSError, EOFError):
            ours.close()
            raise
        finally:
            theirs.close()
        self._lanes.append(Process(process, ours))
        return self._lanes[-1]

    def hear(self, seconds: float) -> list[tuple[Lane | None, Any]]:
        self._lanes = [lane for lane in self._lanes if not lane.line.closed]
        lanes = {lane.line: lane for lane in self._lanes}
        if not lanes:
            time.sleep(seconds)
        heard = wait(list(lanes), timeout=seconds if lanes else 0)
        return [(lanes[line], lanes[line].hear()) for line in lanes if line in heard]

    def want(self, runs: int) -> None:
        """Processes are started as there are runs for them."""

    def close(self) -> None:
        for lane in self._lanes:
            lane.close()
