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
    """A process, and the ends of its lines that lanes have not taken yet."""

    process: BaseProcess
    lines: list[Connection]
    lanes: int = 0


@dataclass(eq=False)
class Line:
    """A lane: a line to a process, which others may share."""

    host: Process
    line: Connection

    def send(self, order: Order) -> None:
        with suppress(OSError):
            self.line.send(order)

    def stop(self) -> None:
        with suppress(OSError):
            self.line.send("stop")

    def kill(self) -> None:
        self.host.process.kill()

    def close(self) -> None:
        if self.line.closed:
            return
        self.line.close()
        self.host.lanes -= 1
        if not self.host.lanes:  # the last one
            self.host.process.kill()
            self.host.process.join()
            for line in self.host.lines:
                line.close()

    def hear(self) -> Any:
        try:
            return self.line.recv()
        except (EOFError, OSError):
            self.host.process.join(10)  # what it died of is known a moment later
            self.close()
            code = self.host.process.exitcode
            return Gone(f"by signal {-code}" if code and code < 0 else f"with status {code}")


@dataclass
class Local:
    """`processes` at most, given `devices` in turn, with `lanes` in each."""

    processes: int
    results: str
    devices: list[str]
    data: str
    lanes: int = 1
    _hosts: dict[int, Process] = field(default_factory=dict)
    _lines: list[Line] = field(default_factory=list)

    @property
    def count(self) -> int:
        return self.processes * self.lanes

    def start(self, index: int) -> Line:
        number = index // self.lanes
        host = self._hosts.get(number)
        if host is None or not host.lines or not host.process.is_alive():
            host = self._hosts[number] = self._host(number)
        host.lanes += 1
        self._lines.append(Line(host, host.lines.pop()))
        return self._lines[-1]

    def hear(self, seconds: float) -> list[tuple[Lane | None, Any]]:
        self._lines = [lane for lane in self._lines if not lane.line.closed]
        lanes = {lane.line: lane for lane in self._lines}
        if not lanes:
            time.sleep(seconds)
        heard = wait(list(lanes), timeout=seconds if lanes else 0)
        return [(lanes[line], lanes[line].hear()) for line in lanes if line in heard]

    def want(self, runs: int) -> None:
        """Processes are started as there are runs for them."""

    def close(self) -> None:
        for lane in self._lines:
            lane.close()

    def _host(self, number: int) -> Process:
        pipes = [multiprocessing.Pipe() for _ in range(self.lanes)]
        ours, theirs = [one for one, _ in pipes], [other for _, other in pipes]
        device = self.devices[number % len(self.devices)]
        try:
            process = processes.start(work.worker, theirs, self.results, device, self.data, self.processes)
        except (OSError, EOFError):
            for line in ours:
                line.close()
            raise
        finally:
            for line in theirs:
                line.close()
        return Process(process, ours)
