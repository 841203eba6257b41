"""Commands and options of ``python -m rigl.campaign.tuning``."""

from __future__ import annotations

import argparse

from rigl.campaign.command import HELP, Parser, add_device, add_results, add_run, execute, positive
from rigl.campaign.experiments import TUNING
from rigl.campaign.request import seconds
from rigl.campaign.studies import Settings
from rigl.campaign.tuning.request import ASKED, request


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; its exit status."""
    return execute(_parser(), arguments)


def _run(options: argparse.Namespace, begun: float) -> int:
    """go on with studies until their trials are complete; the same command goes on after anything"""
    asked = _settings(options)
    limit = None if options.time_limit is None else seconds(options.time_limit)
    from rigl.campaign.tuning import work
    from rigl.training import tracking
    from rigl.training.devices import resolve_device

    tracking.check(options.tracker)
    for device in options.device.split(","):
        resolve_device(device)
    how = work.Options(
        results=options.results,
        storage=options.storage,
        device=options.device,
        data=options.data,
        tracker=options.tracker,
        end=None if limit is None else begun + limit - min(5.0, 0.1 * limit),
        workers=options.workers,
    )
    statuses = []
    for settings in asked:
        print(f"study {settings.name}", flush=True)
        outcome = work.run(settings, how)
        print("\n".join(outcome.lines()), flush=True)
        statuses.append(outcome.status)
        if outcome.stopped:
            statuses += [3] * (len(statuses) < len(asked))
            break
    return 1 if 1 in statuses else max(statuses)


def _status(options: argparse.Namespace, _: float) -> int:
    """trials that are complete, failed, running and begun, and the best one"""
    asked = _settings(options)
    from rigl.campaign.tuning import view

    table = view.status_table(asked, options.results, options.storage)
    print(table.to_string(index=False))
    return view.exit_status(table)


def _parser() -> Parser:
    parser = Parser(
        "python -m rigl.campaign.tuning",
        description="Search alpha and delta_t as the report does: TPE, the validation accuracy over seeds.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, do in (("run", _run), ("status", _status)):
        command = commands.add_parser(name, help=do.__doc__, description=do.__doc__)
        command.set_defaults(do=do)
        command.add_argument("--protocol", default="laptop", help="paper, tenth, laptop (default) or smoke")
        command.add_argument("--dataset", help="default: the protocol's first")
        command.add_argument("--model", help="default: the protocol's own")
        command.add_argument("--method", default="rigl", help="default: rigl")
        command.add_argument(
            "--density", help="by commas, a study each; default: 0.1,0.2,0.5; under laptop 0.02,0.05,0.1"
        )
        command.add_argument("--distribution", help="by commas, a study each; default: uniform,erk")
        command.add_argument("--epochs", type=positive, help="default: the protocol's own")
        command.add_argument(
            "--trials", type=positive, default=TUNING.trials, help="to be complete in all; default: 15"
        )
        command.add_argument("--seeds", default="0,1,2", help="of each trial's runs; default: 0,1,2")
        command.add_argument("--sampler-seed", type=int, default=0, help="decides what is tried; default: 0")
        command.add_argument(
            "--storage", help="URL of a database that Optuna knows; default: SQLite in the folder of results"
        )
        add_results(command)
        if name == "run":
            command.add_argument("--workers", type=positive, default=1, help="processes, one trial each")
            add_device(command)
            add_run(command)
    return parser


def _settings(options: argparse.Namespace) -> list[Settings]:
    return request(**{key: getattr(options, key) for key in (*ASKED, "sampler_seed")})
