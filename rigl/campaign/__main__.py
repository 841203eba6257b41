"""``python -m rigl.campaign plan|run|status|export|verify|tune``: see ``--help``."""

from __future__ import annotations

import argparse
import re
import sys
import time
from typing import NoReturn

from rigl.campaign.experiments import TUNING
from rigl.campaign.request import Request, request, seconds
from rigl.training.config import ENGINES, ConfigError, OneLineError, brief, shown

HELP = """\
exit status:
  0 all done, 3 some left, 1 some failed or damaged, 2 invalid arguments
"""


class Parser(argparse.ArgumentParser):
    """Reports errors in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {_cut(message, 80)}\n")


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status."""
    begun = time.monotonic()
    options = _parser().parse_args(arguments)
    try:
        return int(options.do(options, begun))
    except (OneLineError, OSError) as error:
        print(_cut(str(error), 255), file=sys.stderr)  # the longest file name
        return 2 if isinstance(error, ConfigError) else 1


def _plan(options: argparse.Namespace, _: float) -> int:
    """show the rows of tables, what is done, and the FLOPs and time left on this machine"""
    asked = _request(options)
    from rigl.campaign import status
    from rigl.training.estimate import estimator

    states = status.look(asked.runs(), options.results)
    estimate = estimator(options.device, options.results)
    print(status.plan_table(asked, states, estimate).to_string(index=False))
    print("\n".join(status.headline(states, estimate, options.workers or 1, options.device)))
    return 0


def _run(options: argparse.Namespace, begun: float) -> int:
    """train what is left; rerun the same command to resume after an interruption"""
    asked = _request(options)
    limit = None if options.time_limit is None else seconds(options.time_limit)
    if options.cluster and options.workers:
        raise ConfigError("--workers cannot be combined with --cluster, which has workers of its own")
    from rigl.training import tracking

    tracking.check(options.tracker)
    workers = options.workers or 1
    if options.cluster or workers * options.lanes > 1:
        from rigl.campaign.cluster import check, warm

        check(options.cluster)
        if options.cluster is None:
            warm()
    from rigl.campaign import runner, status
    from rigl.training.estimate import estimator

    # Other machines are not as fast.
    estimate = None if options.cluster else estimator(options.device, options.results)
    configs = asked.runs()
    found = status.look(configs, options.results)
    print("\n".join(status.headline(found, estimate, workers, options.device)), flush=True)
    outcome = runner.run(
        configs,
        device=options.device,
        results=options.results,
        data=options.data,
        tracker=options.tracker,
        engine=options.engine,
        workers=workers,
        lanes=options.lanes,
        cluster=options.cluster,
        time_limit=limit,
        begun=begun,
        estimate=estimate,
    )
    print("\n".join(outcome.lines()))
    return outcome.status


def _status(options: argparse.Namespace, _: float) -> int:
    """show which runs are done, running, begun, failed and left"""
    asked = _request(options)
    from rigl.campaign import status

    states = status.look(asked.runs(), options.results)
    print(status.status_table(asked, states).to_string(index=False))
    for line in status.details(states):
        print(line)
    return status.exit_status(states)


def _export(options: argparse.Namespace, _: float) -> int:
    """write the records of tables, or all records, as one table (.csv, .parquet)"""
    from rigl.campaign import status

    if options.output:
        status.check_format(options.output)
    names = [config.name for config in _request(options).runs()] if options.tables else None
    table = status.export(options.results, names)
    if options.output:
        status.write(table, options.output)
        print(f"{len(table)} records in {options.output}")
    else:
        sys.stdout.write(status.csv(table))
    return 0


def _verify(options: argparse.Namespace, _: float) -> int:
    """check every record and move damaged ones aside"""
    from rigl.campaign import status

    sound, damaged = status.verify(options.results)
    for place, reason in damaged:
        print(f"{reason}; moved to {place}")
    print(f"{sound} records are sound, {len(damaged)} files were damaged")
    return 1 if damaged else 0


def _tune(options: argparse.Namespace, begun: float) -> int:
    """search alpha and delta_t as in the report: TPE by the mean validation accuracy over seeds"""
    limit = None if options.time_limit is None else seconds(options.time_limit)
    from rigl.campaign.studies import ASKED, request

    asked = request(**{key: getattr(options, key) for key in (*ASKED, "sampler_seed")})
    from rigl.campaign import tuning

    if options.status:
        return tuning.show(asked, options.results, options.storage)
    return tuning.main(
        asked,
        tuning.Options(
            results=options.results,
            storage=options.storage,
            device=options.device,
            data=options.data,
            tracker=options.tracker,
            deadline=None if limit is None else time.time() + limit - (time.monotonic() - begun),
            workers=options.workers or 1,
        ),
    )


def _parser() -> Parser:
    parser = Parser(
        "python -m rigl.campaign",
        description="Train the runs of the report's tables and figures.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, do in (("plan", _plan), ("run", _run), ("status", _status), ("export", _export)):
        command = _command(commands, name, do)
        some = "*" if name == "export" else "+"
        nothing = "; default: every record" if name == "export" else ""
        command.add_argument(
            "tables", nargs=some, metavar="TABLE", help=f"table2, figure1, ..., all{nothing}"
        )
        command.add_argument("--protocol", default="laptop", help="paper, tenth, laptop (default) or smoke")
        command.add_argument("--seeds", default="0,1,2", help="default: 0,1,2")
        command.add_argument(
            "--densities", help="default: the report's; under laptop 0.02,0.05,0.1, on CIFAR 0.05,0.1,0.2"
        )
        command.add_argument("--dataset", help="default: the report's; under laptop fashion-mnist")
        command.add_argument("--model", help="default: the protocol's own")
        if name in ("plan", "run"):
            _add_workers(command)
        if name == "run":
            command.add_argument(
                "--lanes", type=_positive, default=1, help="concurrent runs per process, to use a GPU fully"
            )
            command.add_argument(
                "--engine",
                default="auto",
                choices=ENGINES,
                help="kind of training steps; compiled is faster for long runs on a CPU; default: auto",
            )
            command.add_argument("--cluster", help="run on Dask: tcp://SCHEDULER:PORT or a file: slurm.yaml")
            _add_run(command)
        if name == "export":
            command.add_argument("--output", help=".csv or .parquet; default: csv to standard output")
    _command(commands, "verify", _verify)
    command = _command(commands, "tune", _tune)
    command.add_argument("--status", action="store_true", help="only show the progress of the studies")
    command.add_argument("--protocol", default="laptop", help="paper, tenth, laptop (default) or smoke")
    command.add_argument("--dataset", help="default: the protocol's first")
    command.add_argument("--model", help="default: the protocol's own")
    command.add_argument("--method", default="rigl", help="default: rigl")
    command.add_argument(
        "--density", help="comma-separated, one study each; default: 0.1,0.2,0.5; under laptop 0.02,0.05,0.1"
    )
    command.add_argument("--distribution", help="comma-separated, one study each; default: uniform,erk")
    command.add_argument("--epochs", type=_positive, help="default: the protocol's own")
    command.add_argument(
        "--trials", type=_positive, default=TUNING.trials, help="number of trials to complete; default: 15"
    )
    command.add_argument("--seeds", default="0,1,2", help="seeds of each trial's runs; default: 0,1,2")
    command.add_argument("--sampler-seed", type=int, default=0, help="seed of the sampler; default: 0")
    command.add_argument("--storage", help="URL of Optuna's database; default: SQLite in the results folder")
    _add_workers(command)
    _add_run(command)
    return parser


def _command(commands: argparse._SubParsersAction[Parser], name: str, do: object) -> Parser:
    command = commands.add_parser(name, help=do.__doc__, description=do.__doc__)
    command.set_defaults(do=do)
    command.add_argument("--results", default="results", help="folder of the records; default: results")
    return command


def _add_workers(command: Parser) -> None:
    command.add_argument(
        "--workers", type=_positive, help="number of processes, each training one run at a time; default: 1"
    )
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, or several such as cuda:0,cuda:1")


def _add_run(command: Parser) -> None:
    command.add_argument("--time-limit", help="stop cleanly before this: 90s, 9m, 1h30m")
    command.add_argument("--tracker", help="tensorboard or wandb: log the runs while they train")
    command.add_argument("--data", help="folder of the data sets; default: RIGL_DATA")


def _positive(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,5}", text):
        raise argparse.ArgumentTypeError(f"{shown(text)} must be a positive integer")
    return int(text)


def _cut(message: str, limit: int) -> str:
    """A message as one line, with long words truncated."""
    return " ".join(brief(word, limit) for word in message.split())


def _request(options: argparse.Namespace) -> Request:
    keys = ("protocol", "seeds", "densities", "dataset", "model")
    return request(" ".join(options.tables), **{key: getattr(options, key) for key in keys})


if __name__ == "__main__":
    sys.exit(main())
