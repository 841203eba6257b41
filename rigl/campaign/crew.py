"""What a runner needs of whatever does its runs: processes of this machine, or workers of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from rigl.campaign.work import Order
from rigl.training.config import OneLineError


class WorkerError(OneLineError, RuntimeError):
    """No worker can be had."""


@dataclass(frozen=True)
class Gone:
    """A lane's worker is lost: `how`, in words that go on from "it died"; `anew` where its checkpoint is lost
    with it."""

    how: str
    anew: bool = False


class Lane(Protocol):
    """What does one run at a time."""

    def send(self, order: Order) -> None:
        """Begin a run; a worker that has just died is heard of later."""

    def stop(self) -> None:
        """End the run after its epoch."""

    def kill(self) -> None:
        """End the run now: next is heard that it is gone."""

    def close(self) -> None:
        """Let the worker go."""


class Crew(Protocol):
    """All lanes of a campaign."""

    @property
    def count(self) -> int:
        """How many lanes can be had now."""

    def start(self, index: int) -> Lane:
        """One more lane. Raises OSError or EOFError where it cannot be had."""

    def hear(self, seconds: float) -> list[tuple[Lane | None, Any]]:
        """What lanes say within so many seconds, at most one thing each: "ready" once, then for every order
        ``(epochs done, epochs in all)`` before each epoch, warnings as `Warned`, and a `Result`; or `Gone`.
        What concerns no lane comes from None. Raises WorkerError where none can be had any more."""

    def want(self, runs: int) -> None:
        """So many runs could be done at once now."""

    def close(self) -> None:
        """Let everything go."""
