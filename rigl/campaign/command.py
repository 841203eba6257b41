"""What the commands here and of `rigl.campaign.tuning` share."""

from __future__ import annotations

import argparse
import sys
import time
from typing import NoReturn

from rigl.training.config import ConfigError, OneLineError

HELP = """\
exit status:
  0 all done, 3 some left, 1 some failed or damaged, 2 a wrong command
"""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def execute(parser: Parser, arguments: list[str] | None) -> int:
    """Call the `do` of the command that `arguments` name with its options and the time of
    `time.monotonic` at which it began; its exit status."""
    begun = time.monotonic()
    options = parser.parse_args(arguments)
    try:
        return int(options.do(options, begun))
    except (OneLineError, OSError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1


def add_results(command: argparse.ArgumentParser) -> None:
    command.add_argument("--results", default="results", help="folder of the records; default: results")


def add_device(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, or several: cuda:0,cuda:1")


def add_run(command: argparse.ArgumentParser) -> None:
    """The options of whatever trains, but for its device."""
    command.add_argument("--time-limit", help="stop cleanly before this: 90s, 9m, 1h30m")
    command.add_argument("--tracker", help="tensorboard or wandb: watch the runs live")
    command.add_argument("--data", help="folder of the data sets; default: RIGL_DATA")


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 1 on")
    return int(text)
