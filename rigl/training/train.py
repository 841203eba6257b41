"""One training run: from a config to its record, checkpointed every epoch, resumable bit for bit."""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from tqdm.auto import tqdm

from rigl.sparsity.distributions import DISTRIBUTIONS
from rigl.sparsity.flops import forward_flops, training_flops
from rigl.sparsity.methods import METHODS
from rigl.training import checkpoints, provenance, records, tracking
from rigl.training.checkpoints import CheckpointError, checkpoint_of, lock_of
from rigl.training.config import ConfigError, OneLineError, RunConfig
from rigl.training.data import Dataset, shared
from rigl.training.devices import device_name, isolated, resolve_device
from rigl.training.engine import Engine, choose
from rigl.training.records import Flops, LayerRecord, Provenance, Record
from rigl.training.run import Run, Start, build_run, fingerprint, full_layers

# With fewer FLOPs per step, a second CPU thread does not help, and on a busy machine it costs a lot.
ONE_THREAD_BELOW = 1e9
History = dict[str, list[float | None]]
Stop = Callable[[int, int], bool]


@dataclass
class Progress:
    """How far a run has come, as its checkpoint keeps it beside the run's state.

    origin         the fields of `Provenance` that are known at the start
    started        when the run began, in UTC
    epoch          how many epochs are completed
    history        the metrics of each of them, by name
    seconds        what they took
    resumed        how often the run was resumed
    density_steps  the steps after which densities were sampled; with each, `densities` of all layers and
                   `forward`, a forward pass's FLOPs
    """

    origin: dict[str, Any]
    started: str
    epoch: int = 0
    history: History = field(default_factory=dict)
    seconds: float = 0.0
    resumed: int = 0
    density_steps: list[int] = field(default_factory=list)
    densities: list[list[float]] = field(default_factory=list)
    forward: list[float] = field(default_factory=list)


class Interrupted(OneLineError, RuntimeError):
    """A run was stopped. The same call resumes it from its checkpoint."""


@dataclass(frozen=True)
class Options:
    """Options of a training run. They are not part of its identity: of them, only `device` and `engine` may
    affect the result, by precision and rounding, and a record names both.

    device    ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``, ...
    results   folder of the records
    data      folder of the data sets: see `rigl.training.data.load`
    progress  whether to show a progress bar; None shows it in terminals and notebooks only
    again     train again, ignoring the record and the checkpoint
    masks     train again if the record exists but the final masks do not
    stop      called before every epoch with the completed and the total epochs; True stops the run
    wait      whether to wait for another process that trains this config, or to raise filelock.Timeout
    tracker   ``"tensorboard"`` or ``"wandb"``: see `rigl.training.tracking`
    engine    see `rigl.training.engine.choose`
    lanes     number of runs that share the device, for the record: see `rigl.train_lanes`
    """

    device: str = "auto"
    results: str | Path = "results"
    data: str | Path | None = None
    progress: bool | None = None
    again: bool = False
    masks: bool = False
    stop: Stop | None = None
    wait: bool = True
    tracker: str | None = None
    engine: str = "auto"
    lanes: int = 1


def train(config: RunConfig, options: Options | None = None, **changes: Any) -> Record:
    """Train a run and store its record under ``options.results``. A finished run's record is read instead.

    `changes` are fields of `Options`: ``train(config, device="cpu")`` is
    ``train(config, Options(device="cpu"))``.

    After every epoch a checkpoint is written under ``results/.checkpoints``. If the process is killed, the
    same call resumes from there and, on the same device, ends with the same weights, masks, momentum and
    metrics bit for bit. With a damaged checkpoint, the run starts over with a warning. If two processes train
    the same config, the second waits and reads the record. If the loss becomes NaN or infinite, the run ends
    with the status "diverged". The global random state does not change.

    Raises ConfigError for invalid knobs and for a device or tracker that is not available, DataError,
    RecordError, WriteError for a full or read-only disk, and Interrupted if `stop` returned True.
    """
    options = replace(options or Options(), **changes)
    tracking.check(options.tracker)
    where, results = resolve_device(options.device), options.results
    path = records.path_of(config, results)
    checkpoint = checkpoint_of(config, results)
    with _claimed(config, results, options.wait):
        if options.again:
            checkpoint.unlink(missing_ok=True)
        elif found := _finished(config, results, options.masks):
            return found
        start = _start(config, options)
        dataset = shared(config.dataset, options.data, config.pool, where)
        with isolated(where, threads(config)):
            run = build_run(config, where, start)
            with choose(run, options.engine) as engine:
                record, final = _train(engine, dataset, start, options)
        before = records.load(path) if path.exists() and not options.again else None
        if before is not None and before.state_sha256 != record.state_sha256:
            warnings.warn(
                f"{config.name} was trained again for its masks, came out different and replaces its "
                "record; runs that started from the old masks name theirs by source_masks",
                stacklevel=2,
            )
        if final:
            records.save_masks(final, config, results)
        records.save(record, results)
        checkpoint.unlink(missing_ok=True)
        return record


@contextmanager
def _claimed(config: RunConfig, results: str | Path, wait: bool) -> Iterator[None]:
    """Hold the lock of a run, and remove partial files that a killed process left.

    Raises filelock.Timeout if another process holds the lock and `wait` is False.
    """
    checkpoint = checkpoint_of(config, results)
    lock = FileLock(lock_of(config, results), timeout=-1 if wait else 0)
    with ExitStack() as held:
        with records.writing(lock_of(config, results)):
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(lock)
        for path in (checkpoint, records.path_of(config, results), *records.mask_paths(config, results)):
            for partial in path.parent.glob(f".{path.name}.*.part"):
                partial.unlink(missing_ok=True)
        yield


def _finished(config: RunConfig, results: str | Path, masks: bool) -> Record | None:
    """The record of a finished run; None if there is none, or if its `masks` are needed and missing."""
    path = records.path_of(config, results)
    if not path.exists() or (masks and records.load_masks(config, results) is None):
        return None
    checkpoint_of(config, results).unlink(missing_ok=True)  # left if killed just after the record
    return records.load(path)


def _start(config: RunConfig, options: Options) -> Start:
    """Find what `config` starts from. A source is trained first if its record or masks are missing."""
    results = options.results
    if config.source is not None:
        record = train(config.source, options, masks=True, again=False)
        masks = records.load_masks(config.source, results)
        if record.status != "finished" or masks is None:
            raise ConfigError(f"{config.method} needs {record.name}, which diverged")
        return Start(record, {name: torch.from_numpy(mask) for name, mask in masks.items()})
    if isinstance(config.distribution, str) and config.distribution not in DISTRIBUTIONS:
        path = next(Path(results).glob(f"*/{config.distribution}.json"), None)
        if path is None:
            raise ConfigError(f"distribution={config.distribution!r}: no such record under {results}")
        layers = records.load(path).layers
        return Start(densities={layer.name: layer.density[-1] for layer in layers})
    return Start()


def threads(config: RunConfig) -> int:
    """The number of CPU threads for `config`: torch's number, or one if steps are small."""
    step = 3 * config.batch_size * forward_flops(full_layers(config))
    return 1 if step < ONE_THREAD_BELOW else torch.get_num_threads()


def _train(engine: Engine, dataset: Dataset, start: Start, options: Options) -> tuple[Record, records.Masks]:
    """Train a run to its end, from its checkpoint if there is one; returns its record and final masks."""
    run, stop = engine.run, options.stop
    config = run.config
    checkpoint = checkpoint_of(config, options.results)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    done = Progress(origin=_origin(engine, options.lanes), started=now)
    _sample(run, done)
    if checkpoint.exists():
        done = _resume(engine, checkpoint, options.lanes) or done
    training, validation = dataset.split(config.validation)
    history = done.history
    diverged = _diverged(history)
    with (
        tracking.watch(options.tracker, config, options.results, done.epoch) as watched,
        tqdm(
            total=config.total_steps,
            initial=done.epoch * config.steps_per_epoch,
            disable=None if options.progress is None else not options.progress,
            desc=config.label,
            unit="step",
        ) as bar,
    ):
        run.sparsifier.on_update = watched.update
        while done.epoch < config.total_epochs and not diverged:
            if stop is not None and stop(done.epoch, config.total_epochs):
                raise Interrupted(f"{config.name} was stopped after {done.epoch} epochs")
            begin = time.perf_counter()
            loss, accuracy = engine.epoch(training, done.epoch, bar.update)
            metrics = {"train_loss": loss, "train_accuracy": accuracy}
            if len(validation):
                loss, accuracy = engine.evaluate(validation)
                metrics |= {"validation_loss": loss, "validation_accuracy": accuracy}
            for name, value in metrics.items():
                history.setdefault(name, []).append(value)
            diverged = _diverged(history)
            done.epoch += 1
            if done.epoch in _sampled(config):
                _sample(run, done)
            done.seconds += time.perf_counter() - begin
            watched.epoch(run, metrics, len(training))
            bar.set_postfix(epoch=done.epoch, density=f"{run.density():.3f}", **metrics)
            checkpoints.save({"name": config.name, "run": run.state_dict(), "done": vars(done)}, checkpoint)
    test = None
    if not diverged:
        loss, accuracy = engine.evaluate(dataset.test)
        test = None if loss is None else accuracy
    if done.density_steps[-1] != run.sparsifier.step_count:
        _sample(run, done)
    masks = {name: mask.cpu().numpy() for name, mask in run.sparsifier.masks.items()}
    return record_of(run, dataset, done, test, start), masks


def _sampled(config: RunConfig) -> set[int]:
    """Epochs after which layer densities are recorded: where a method moves them, a few at the start and
    about twenty later; otherwise the last."""
    method = METHODS[config.method]
    if method.share is None and not method.prunes:
        return {config.total_epochs}
    return {1, 2, 3, 4, 6, 8} | {math.ceil(config.total_epochs * part / 20) for part in range(1, 21)}


def _sample(run: Run, done: Progress) -> None:
    done.density_steps.append(run.sparsifier.step_count)
    done.densities.append([round(density, 9) for density in run.layer_densities()])
    done.forward.append(run.forward_flops())


def _diverged(history: History) -> bool:
    """Whether a loss of the last epoch is NaN or infinite."""
    return any(values[-1] is None for values in history.values())


def _origin(engine: Engine, lanes: int) -> dict[str, Any]:
    """The fields of `Provenance` that are known at the start of a run."""
    commit, clean = provenance.commit()
    return {
        "commit": commit,
        "clean": clean,
        "versions": provenance.versions(),
        "device": device_name(engine.run.device),
        "threads": torch.get_num_threads(),
        "precision": engine.run.precision,
        "engine": engine.name,
        "lanes": lanes,
    }


def _resume(engine: Engine, checkpoint: Path, lanes: int) -> Progress | None:
    """Load a checkpoint into the engine's run and return its progress. If it cannot be used, warn, restore
    the run and return None. Precision and threads stay those at the start of the run."""
    run = engine.run
    before = copy.deepcopy(run.state_dict())
    try:
        saved = checkpoints.load(checkpoint, run.config, run.device)
        run.load_state_dict(saved["run"])
        done = Progress(**saved["done"])
        origin, now = done.origin, _origin(engine, lanes)
        run.precision = origin["precision"]
        torch.set_num_threads(origin["threads"])
    except Exception as error:  # such as a checkpoint of another version
        reason = str(error) if isinstance(error, CheckpointError) else f"{type(error).__name__}: {error}"
        reason = reason.splitlines()[0]
        warnings.warn(f"{checkpoint} cannot be used ({reason}): training starts over", stacklevel=4)
        run.load_state_dict(before)
        return None
    if now["commit"] != origin["commit"] or not now["clean"]:
        origin["clean"] = False if origin["commit"] else None
    origin["lanes"] = max(now["lanes"], origin["lanes"])
    for key in ("device", "engine"):
        if now[key] not in origin[key].split(" + "):
            origin[key] += f" + {now[key]}"
    done.resumed += 1
    return done


def record_of(run: Run, dataset: Dataset, done: Progress, test: float | None, start: Start) -> Record:
    """The record of a run that has ended, from its progress `done` and its `test` accuracy in percent, None
    if it diverged."""
    config = run.config
    parameters = sum(p.numel() for p in run.model.parameters())
    inactive = sum(mask.numel() - int(mask.sum()) for mask in run.sparsifier.masks.values())
    history = done.history
    flops = flops_of(run, start.source)
    return Record(
        name=config.name,
        status="diverged" if test is None else "finished",
        config=config,
        test_accuracy=test,
        validation_accuracy=history["validation_accuracy"][-1] if config.validation else None,
        history=history,
        density_steps=done.density_steps,
        forward_ratio=[round(forward / flops.dense_forward, 6) for forward in done.forward],
        source=start.source.name if start.source else None,
        source_masks=fingerprint(start.masks) if start.masks else None,
        layers=[
            LayerRecord(name=layer.name, shape=layer.shape, density=list(density))
            for layer, density in zip(run.layers, zip(*done.densities, strict=True), strict=True)
        ],
        parameters=parameters,
        active_parameters=parameters - inactive,
        updates=run.sparsifier.update_count,
        flops=flops,
        state_sha256=fingerprint(run.hashed_state()),
        provenance=Provenance(
            **done.origin,
            data_sha256=dataset.sha256,
            started=done.started,
            wall_seconds=round(done.seconds, 2),
            peak_memory=provenance.peak_memory(run.device),
            resumed=done.resumed,
        ),
    )


def flops_of(run: Run, source: Record | None) -> Flops:
    """The cost of a run, including its source's if the method accounts for it."""
    config, ledger = run.config, run.ledger
    dense = forward_flops(full_layers(config))
    mean = ledger.forward / ledger.steps
    before = source.flops if source and METHODS[config.method].pays_source else None
    training = training_flops(
        config.method, dense, mean, delta_t=config.delta_t, source=before.training if before else 0.0
    )
    counted = ledger.training / ledger.steps
    if before:
        counted += before.training if before.counted is None else before.counted
    forward = run.forward_flops()
    return Flops(
        dense_forward=dense,
        forward=forward,
        training=training,
        train_ratio=config.multiplier * training / (3 * dense),
        test_ratio=forward / dense,
        mean_forward=mean,
        counted=counted,
    )
