"""Commands and options of ``python -m rigl.campaign``."""

from __future__ import annotations

import argparse
import sys
import time
from typing import NoReturn

from rigl.campaign.request import Request, request, seconds
from rigl.config import ConfigError, OneLineError

HELP = """\
exit status:
  0 all done, 3 some left, 1 some failed or damaged, 2 a wrong command
"""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; its exit status."""
    begun = time.monotonic()
    options = _parser().parse_args(arguments)
    try:
        return int(options.do(options, begun))
    except (OneLineError, OSError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1


def _plan(options: argparse.Namespace, _: float) -> int:
    """rows, runs, what is done, and the FLOPs and the time that are left on this machine"""
    asked = _request(options)
    from rigl.campaign import view
    from rigl.campaign.clock import clock

    states, expect = view.look(asked, options.results), clock(options.device, options.results)
    print(view.plan_table(asked, states, expect).to_string(index=False))
    found = list(states.values())
    print("\n".join(view.headline(found, expect, options.workers, options.device)))
    return 0


def _run(options: argparse.Namespace, begun: float) -> int:
    """train what is left; the same command goes on after anything that stopped it"""
    asked = _request(options)
    limit = None if options.time_limit is None else seconds(options.time_limit)
    from rigl import tracking
    from rigl.campaign import processes

    tracking.check(options.tracker)

    processes.warm(any(config.dataset == "digits" for config in asked.runs()))
    from rigl.campaign import runner, view
    from rigl.campaign.clock import clock

    expect = clock(options.device, options.results)
    found = list(view.look(asked, options.results).values())
    print("\n".join(view.headline(found, expect, options.workers, options.device)), flush=True)
    outcome = runner.run(
        asked.runs(),
        results=options.results,
        device=options.device,
        data=options.data,
        workers=options.workers,
        time_limit=limit,
        begun=begun,
        expect=expect,
        tracker=options.tracker,
    )
    print("\n".join(outcome.lines()))
    return outcome.status


def _status(options: argparse.Namespace, _: float) -> int:
    """what is done, running, begun, failed and left"""
    asked = _request(options)
    from rigl.campaign import view

    states = view.look(asked, options.results)
    print(view.status_table(asked, states).to_string(index=False))
    for line in view.details(states.values()):
        print(line)
    return view.exit_status(states.values())


def _export(options: argparse.Namespace, _: float) -> int:
    """the records of tables, or all there are, as one table (.csv, .parquet)"""
    from rigl.campaign import store

    if options.output:
        store.check_format(options.output)
    names = [config.name for config in _request(options).runs()] if options.tables else None
    table = store.export(options.results, names)
    if options.output:
        store.write(table, options.output)
        print(f"{len(table)} records in {options.output}")
    else:
        sys.stdout.write(table.to_csv(index=False))
    return 0


def _verify(options: argparse.Namespace, _: float) -> int:
    """read every record and set damaged ones aside"""
    from rigl.campaign import store

    sound, damaged = store.verify(options.results)
    for place, reason in damaged:
        print(f"{reason}; moved to {place}")
    print(f"{sound} records are sound, {len(damaged)} files were damaged")
    return 1 if damaged else 0


def _parser() -> Parser:
    parser = Parser(
        "python -m rigl.campaign",
        description="Get through the report's tables and figures.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, do in (("plan", _plan), ("run", _run), ("status", _status), ("export", _export)):
        command = commands.add_parser(name, help=do.__doc__, description=do.__doc__)
        command.set_defaults(do=do)
        nothing = ", or nothing for every record" if name == "export" else ""
        some = "*" if name == "export" else "+"
        command.add_argument(
            "tables", nargs=some, metavar="TABLE", help=f"table2, figure1, ..., all{nothing}"
        )
        command.add_argument("--protocol", default="laptop", help="paper, tenth, laptop (default) or smoke")
        command.add_argument("--seeds", default="0,1,2", help="default: 0,1,2")
        command.add_argument("--densities", help="default: the report's; under laptop 0.02,0.05,0.1")
        command.add_argument("--dataset", help="default: the report's; under laptop fashion-mnist")
        command.add_argument("--model", help="default: the protocol's own")
        _add_results(command)
        if name in ("plan", "run"):
            command.add_argument("--workers", type=positive, default=1, help="processes, one run each")
            command.add_argument(
                "--device", default="auto", help="auto, cpu, cuda, or several: cuda:0,cuda:1"
            )
        if name == "run":
            command.add_argument("--time-limit", help="stop cleanly before this: 90s, 9m, 1h30m")
            command.add_argument("--tracker", help="tensorboard or wandb: watch the runs live")
            command.add_argument("--data", help="folder of the data sets; default: RIGL_DATA")
        if name == "export":
            command.add_argument("--output", help=".csv or .parquet; default: csv to standard output")
    command = commands.add_parser("verify", help=_verify.__doc__, description=_verify.__doc__)
    command.set_defaults(do=_verify)
    _add_results(command)
    return parser


def _add_results(command: argparse.ArgumentParser) -> None:
    command.add_argument("--results", default="results", help="folder of the records; default: results")


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 1 on")
    return int(text)


def _request(options: argparse.Namespace) -> Request:
    keys = ("protocol", "seeds", "densities", "dataset", "model")
    return request(" ".join(options.tables), **{key: getattr(options, key) for key in keys})
