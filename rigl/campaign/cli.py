"""Commands and options of ``python -m rigl.campaign``."""

from __future__ import annotations

import argparse
import sys

from rigl.campaign.command import HELP, Parser, add_device, add_results, add_run, execute, positive
from rigl.campaign.request import Request, request, seconds
from rigl.training.config import ENGINES, ConfigError


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; its exit status."""
    return execute(_parser(), arguments)


def _plan(options: argparse.Namespace, _: float) -> int:
    """rows, runs, what is done, and the FLOPs and the time that are left on this machine"""
    asked = _request(options)
    from rigl.campaign import status
    from rigl.training.estimate import estimator

    states = status.look(asked.runs(), options.results)
    estimate = estimator(options.device, options.results)
    print(status.plan_table(asked, states, estimate).to_string(index=False))
    print("\n".join(status.headline(states, estimate, options.workers or 1, options.device)))
    return 0


def _run(options: argparse.Namespace, begun: float) -> int:
    """train what is left; the same command goes on after anything that stopped it"""
    asked = _request(options)
    limit = None if options.time_limit is None else seconds(options.time_limit)
    from rigl.training import tracking

    tracking.check(options.tracker)
    workers, here = options.workers or 1, True
    if options.cluster is None:
        from rigl.campaign import processes

        processes.warm()
    elif options.workers or options.lanes:
        raise ConfigError(
            "--workers and --lanes go without --cluster: --cluster local:N is N workers here, a run each"
        )
    else:
        from rigl.campaign import where

        place = where.parse(options.cluster)
        workers, here = place.workers or 1, place.local
    from rigl.campaign import runner, status
    from rigl.training.estimate import estimator

    # other machines have their own pace
    estimate = estimator(options.device, options.results) if here else None
    found = status.look(asked.runs(), options.results)
    print("\n".join(status.headline(found, estimate, workers, options.device)), flush=True)
    outcome = runner.run(
        asked.runs(),
        results=options.results,
        device=options.device,
        data=options.data,
        workers=workers,
        time_limit=limit,
        begun=begun,
        estimate=estimate,
        lanes=options.lanes or 1,
        cluster=options.cluster,
        tracker=options.tracker,
        engine=options.engine,
    )
    print("\n".join(outcome.lines()))
    return outcome.status


def _status(options: argparse.Namespace, _: float) -> int:
    """what is done, running, begun, failed and left"""
    asked = _request(options)
    from rigl.campaign import status

    states = status.look(asked.runs(), options.results)
    print(status.status_table(asked, states).to_string(index=False))
    for line in status.details(states):
        print(line)
    return status.exit_status(states)


def _export(options: argparse.Namespace, _: float) -> int:
    """the records of tables, or all there are, as one table (.csv, .parquet)"""
    from rigl.campaign import status

    if options.output:
        status.check_format(options.output)
    names = [config.name for config in _request(options).runs()] if options.tables else None
    table = status.export(options.results, names)
    if options.output:
        status.write(table, options.output)
        print(f"{len(table)} records in {options.output}")
    else:
        sys.stdout.write(table.to_csv(index=False))
    return 0


def _verify(options: argparse.Namespace, _: float) -> int:
    """read every record and set damaged ones aside"""
    from rigl.campaign import status

    sound, damaged = status.verify(options.results)
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
        command.add_argument(
            "--densities", help="default: the report's; under laptop 0.02,0.05,0.1, on CIFAR 0.05,0.1,0.2"
        )
        command.add_argument("--dataset", help="default: the report's; under laptop fashion-mnist")
        command.add_argument("--model", help="default: the protocol's own")
        add_results(command)
        if name in ("plan", "run"):
            command.add_argument("--workers", type=positive, help="processes, one run each; default: 1")
            add_device(command)
        if name == "run":
            command.add_argument(
                "--lanes", type=positive, help="runs at a time in each process, to fill a GPU; default: 1"
            )
            add_run(command)
            command.add_argument(
                "--engine",
                default="auto",
                choices=ENGINES,
                help="how steps are taken; compiled is faster for long runs on a CPU; default: auto",
            )
            command.add_argument(
                "--cluster", help="run on Dask: local:N, tcp://SCHEDULER:PORT or a file such as slurm.yaml"
            )
        if name == "export":
            command.add_argument("--output", help=".csv or .parquet; default: csv to standard output")
    command = commands.add_parser("verify", help=_verify.__doc__, description=_verify.__doc__)
    command.set_defaults(do=_verify)
    add_results(command)
    return parser


def _request(options: argparse.Namespace) -> Request:
    keys = ("protocol", "seeds", "densities", "dataset", "model")
    return request(" ".join(options.tables), **{key: getattr(options, key) for key in keys})
