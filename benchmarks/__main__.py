"""``python -m benchmarks``: measure, print a table, and store it under ``results/bench``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks import plain, sparse, steps, updates, verify, whole
from rigl.training import provenance, records
from rigl.training.config import ConfigError
from rigl.training.devices import device_name, isolated, resolve_device, resolve_precision, slug
from rigl.training.engine import verification_path, verified
from rigl.training.project import root
from rigl.training.train import train

LAYER = 10**7  # weights of the layer whose update is measured
UNITS = {"seconds": "s", "bytes": "bytes"}
SPARSE = (*sparse.NETWORKS, "crossovers")
Row = tuple[str, str, str]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or one of several GPUs")
    parser.add_argument(
        "--quick", action="store_true", help="a small model and few rounds; nothing is stored"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="only compare captured steps with eager ones, and store the result",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="also measure torch.compile, which needs a C++ compiler and takes longer",
    )
    parser.add_argument("--model", default="wrn-22-2", help="wrn-22-2 (default) or resnet-50")
    parser.add_argument(
        "--sparse", metavar="PART", help=f"only sparse execution on a CPU: {', '.join(SPARSE)}, or all"
    )
    parser.add_argument(
        "--race", type=int, metavar="N", help="train the next N of the runs compared by accuracy and seconds"
    )
    options = parser.parse_args(arguments)
    try:
        device = resolve_device(options.device)
        if options.model not in ("wrn-22-2", "resnet-50"):
            raise ConfigError(f"model={options.model!r} is not measured: choose wrn-22-2 or resnet-50")
        if options.sparse not in (None, "all", *SPARSE):
            raise ConfigError(
                f"sparse={options.sparse!r} is not measured: choose all, or one of {', '.join(SPARSE)}"
            )
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    if options.race is not None:
        return _race(options.race)
    if options.sparse:
        return _sparse(list(SPARSE) if options.sparse == "all" else [options.sparse], options.quick)
    found = _described(device)
    with isolated(device, torch.get_num_threads()):
        if options.verify:
            return _verify(device, found, options.quick)
        found |= _measured(device, options.model, options.quick, options.compile)
    print(table(found))
    if not options.quick:
        folder = root() / "results" / "bench"
        if options.model != "wrn-22-2":
            folder /= options.model
        # CPUs of the same name may differ in their support of bf16.
        own = "-bf16" if device.type == "cpu" and found["precision"] == "bf16" else ""
        _keep(found, folder / f"{slug(device)}{own}.json")
    return 0


def table(found: dict[str, Any]) -> str:
    """A table of the ratios with their quartiles, then of the measurements behind them."""
    rows: list[Row] = [
        (name, f"{r['median']:.3f}", f"{r['low']:.3f} to {r['high']:.3f}")
        for name, r in found["ratios"].items()
    ]
    rows += [
        (
            f"{name}, a step" if "two runs" not in name else name,
            f"{1000 * s['median']:.2f} ms",
            f"{1000 * s['low']:.2f} to {1000 * s['high']:.2f}",
        )
        for name, s in found["seconds"].items()
    ]
    rows += [
        (name, f"{r['median']:.3g}", f"{r['low']:.3g} to {r['high']:.3g}")
        for name, r in found["rates"].items()
    ]
    rows += [(f"{name}, images a second", f"{n:.0f}", "") for name, n in found["images_per_second"].items()]
    for key, value in found.items():
        unit = UNITS.get(key.rpartition("_")[2])
        if unit and isinstance(value, int | float):
            rows.append((key.rpartition("_")[0].replace("_", " "), f"{value:,} {unit}", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    head = f"{found['model']} at batch {found['batch']}, {found['device']}, {found['precision']}, "
    return "\n".join(
        [head + f"{found['threads']} threads, {found['engine']} steps, bound by {found['limit']}"]
        + [f"{name:{widths[0]}}  {value:>{widths[1]}}  {spread}".rstrip() for name, value, spread in rows]
    )


def _race(count: int) -> int:
    folder = root() / "results" / "bench" / "seconds"
    left = [config for config in sparse.race() if not records.path_of(config, folder).exists()]
    for config in left[:count]:
        record = train(config, results=folder, device="cpu")
        print(record.name, record.test_accuracy, f"{record.provenance.wall_seconds} s")
    print(f"{max(0, len(left) - count)} left")
    return 0


def _sparse(parts: list[str], quick: bool) -> int:
    cpu = torch.device("cpu")
    path = root() / "results" / "bench" / "sparse" / f"{slug(cpu)}.json"
    old = json.loads(path.read_text()) if path.exists() else {}
    described = _described(cpu)
    with isolated(cpu, torch.get_num_threads()):
        new = sparse.measure(parts, 2 if quick else 9, quick)
    origin = {key: described[key] for key in ("commit", "clean")}
    measured = old.get("measured", {}) | {part: origin for part in parts}  # noqa: C420
    found = described | {"measured": measured} | sparse.merged(old, new, parts)
    for row in new["training"] + new["crossovers"]:
        what = row.get("network", row.get("shape")), row.get("threads", 1), row["density"]
        how = row.get("method", "one layer"), row.get("execution", row.get("auto"))
        print(*what, *how, f"{row['faster']['median']:.2f} times as fast")
    if not quick:
        _keep(found, path)
    return 0


def _described(device: torch.device) -> dict[str, Any]:
    commit, clean = provenance.commit("benchmarks")
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "precision": resolve_precision("auto", device),
        "commit": commit,
        "clean": clean,
        "versions": provenance.versions(),
    }


def _measured(device: torch.device, model: str, quick: bool, compile: bool) -> dict[str, Any]:
    cuda = device.type == "cuda"
    engine = "captured" if cuda and verified(device) else "eager"
    rounds, batch, epoch = (2, 8, 6) if quick else (9, 128, 101)
    model = "wrn-10-1" if quick else model
    size: dict[str, Any] = {"model": model, "rounds": rounds, "batch": batch}
    found: dict[str, Any] = {
        "model": model,
        "batch": batch,
        "engine": engine,
        "seconds": {},
        "rates": {},
        "ratios": {},
        "images_per_second": {},
    }
    parts = [
        steps.measure(device, **size),
        plain.measure(device, **size, steps=2 if quick else 4 if engine == "eager" else 100, engine=engine),
        steps.limits(device, **size, steps=2 if quick else 50, engine=engine),
        updates.measure(device, weights=2 * 10**6 if quick else LAYER, rounds=rounds),
    ]
    if model != "resnet-50":
        parts.append(steps.structured(device, **size))
    if cuda or quick:  # takes minutes on a CPU, without CUDA graphs to measure
        several = {**size, "rounds": 3 if cuda else 1, "steps": epoch}
        parts += [
            steps.engines(device, **several),
            steps.lanes(device, **several, engine=engine),
        ]
    if compile:
        parts.append(whole.compiled(device, **size))
    if not quick:
        parts.append(whole.measure(device, engine))
        if not cuda:
            parts.append(whole.side_by_side(3))
    for part in parts:
        for name, value in part.items():
            if isinstance(value, dict):
                found[name] |= value
            else:
                found[name] = value
    return found


def _verify(device: torch.device, found: dict[str, Any], quick: bool) -> int:
    found |= (
        verify.verify(device, steps=44, batch=8, model="lenet-300-100") if quick else verify.verify(device)
    )
    print(verify.verdicts(found))
    if device.type == "cuda" and not quick:
        _keep(found, verification_path(device))
    return 0 if found["passed"] else 1


def _keep(found: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    records.write_whole(path, (json.dumps(found, indent=1) + "\n").encode())
    print(f"stored in {path}")


if __name__ == "__main__":
    sys.exit(main())
