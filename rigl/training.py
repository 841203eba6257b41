"""One training run: from a config to its record, checkpointed every epoch, resumable bit for bit."""

from __future__ import annotations

import hashlib
import io
import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from rigl import archive, provenance, records, tracking
from rigl.config import DATASETS, DISTRIBUTIONS, ConfigError, OneLineError, RunConfig
from rigl.data import Dataset, Images, batches, load
from rigl.devices import device_name, resolve_device, resolve_precision
from rigl.flops import forward_flops, step_flops, training_flops
from rigl.layers import describe
from rigl.methods import METHODS
from rigl.models import build
from rigl.records import Flops, LayerRecord, Provenance, Record
from rigl.schedules import learning_rate
from rigl.shapes import Layer
from rigl.sparsifier import Sparsifier

EVALUATION_BATCH = 500
# Below this many FLOPs a step a second CPU thread gains nothing, and on a busy machine costs a lot.
ONE_THREAD_BELOW = 1e9
History = dict[str, list[float | None]]
Stop = Callable[[int, int], bool]


class Interrupted(OneLineError, RuntimeError):
    """A run that was asked to stop: the same call goes on from its checkpoint."""


@dataclass
class Ledger:
    """The FLOPs a sample that the steps so far really took: of their forward passes, and in all."""

    steps: int = 0
    forward: float = 0.0
    training: float = 0.0

    def add(self, forward: float, dense: float, dense_gradient: bool) -> None:
        self.steps += 1
        self.forward += forward
        self.training += step_flops(forward, dense, dense_gradient)


@dataclass
class Run:
    """What one run trains, on its device."""

    config: RunConfig
    device: torch.device
    precision: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    sparsifier: Sparsifier
    layers: list[Layer]
    ledger: Ledger
    _cost: tuple[int, float, float] | None = None

    def forward_flops(self) -> float:
        """FLOPs of one sample's forward pass by the masks as they are."""
        densities = self.sparsifier.densities
        return forward_flops(self.layers, {n.name: densities.get(n.name, 1.0) for n in self.layers})

    def density(self) -> float:
        """Active weights over all weights of the maskable layers."""
        densities = self.sparsifier.densities
        active = sum(layer.numel * densities.get(layer.name, 1.0) for layer in self.layers)
        return active / sum(layer.numel for layer in self.layers)

    def count_step(self) -> None:
        """Enter into the ledger what the step at hand costs, before the optimiser takes it."""
        updates = self.sparsifier.update_count
        if self._cost is None or self._cost[0] != updates:
            self._cost = updates, self.forward_flops(), forward_flops(self.layers)
        _, forward, dense = self._cost
        when = self.sparsifier.method.dense_gradients
        everything = when == "always" or (when == "updates" and self.sparsifier.update_due)
        self.ledger.add(forward, dense, everything)

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "sparsifier": self.sparsifier.state_dict(),
        }

    def save(self) -> dict[str, Any]:
        return {**self.state_dict(), "ledger": vars(self.ledger).copy()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.sparsifier.load_state_dict(state["sparsifier"])
        self.ledger = Ledger(**state["ledger"])


def train(
    config: RunConfig,
    *,
    device: str = "auto",
    results: str | Path = "results",
    data: str | Path | None = None,
    progress: bool | None = None,
    again: bool = False,
    masks: bool = False,
    stop: Stop | None = None,
    wait: bool = True,
    tracker: str | None = None,
) -> Record:
    """Train as `config` says and keep the record under `results`; a finished run's record is just read.

    device    ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``, ...
    data      where the data sets lie: see `rigl.data.load`
    progress  a bar; None shows one in a terminal or a notebook only
    again     train anew, although there is a record or a checkpoint
    masks     train anew where there is a record, but not its run's final masks
    stop      asked before every epoch, with the epochs done and those in all, whether to stop there
    wait      for another process that trains this config; else filelock.Timeout is raised
    tracker   ``"tensorboard"`` or ``"wandb"``: watch the run live, see `rigl.tracking`

    After every epoch a checkpoint is written under ``results/.checkpoints``. After a kill the same call
    goes on from there and ends with the same weights, masks, momentum and metrics, bit for bit, on the
    same device. Of two processes that train one config, the second waits and reads the record. A loss
    that is not a number ends the run with the status "diverged". The global random state is left as it
    was.

    Raises ConfigError for knobs that cannot be and for a device or tracker that is not there, DataError and
    RecordError; Interrupted where `stop` said so.
    """
    where = resolve_device(device)
    tracking.check(tracker)
    path = records.path_of(config, results)
    checkpoint = checkpoint_of(config, results)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock_of(config, results), timeout=-1 if wait else 0):
        if again:
            checkpoint.unlink(missing_ok=True)
        elif path.exists() and not (masks and archive.load_masks(config, results) is None):
            checkpoint.unlink(missing_ok=True)  # left by a kill just after the record was written
            return records.load(path)
        start = _start(
            config,
            device=device,
            results=results,
            data=data,
            progress=progress,
            stop=stop,
            wait=wait,
            tracker=tracker,
        )
        dataset = load(config.dataset, data).pooled(config.pool).to(where)
        with isolated(where, threads(config)):
            watch = partial(tracking.watch, tracker, config, results)
            record, final = _train(config, where, dataset, checkpoint, progress, start, stop, watch)
        before = records.load(path) if path.exists() and not again else None
        if before is not None and before.state_sha256 != record.state_sha256:
            warnings.warn(
                f"{config.name} was trained again for its masks, came out different and replaces its record; "
                "runs that started from the old masks name theirs by source_masks",
                stacklevel=2,
            )
        if final:
            archive.save_masks(final, config, results)
        records.save(record, results)
        checkpoint.unlink(missing_ok=True)
    return record


def checkpoint_of(config: RunConfig, results: str | Path = "results") -> Path:
    """Where the last epoch of a run that is not finished lies."""
    return Path(results) / ".checkpoints" / f"{config.name}.pt"


def lock_of(config: RunConfig, results: str | Path = "results") -> Path:
    """The file that whoever trains `config` holds locked."""
    return checkpoint_of(config, results).with_suffix(".lock")


def epochs_done(config: RunConfig, results: str | Path = "results") -> int:
    """Epochs that a run which is not finished can go on from; 0 without a checkpoint that can be read."""
    try:
        saved = torch.load(checkpoint_of(config, results), map_location="cpu", weights_only=True, mmap=True)
        return int(saved["done"]["epoch"])
    except Exception:  # whatever torch makes of a file that is not a checkpoint; training then says so
        return 0


@dataclass
class Start:
    """What a run begins with that other runs left: the record of its source, and that run's final masks;
    or the densities of a record."""

    source: Record | None = None
    masks: dict[str, Tensor] | None = None
    densities: dict[str, float] | None = None


def _start(config: RunConfig, *, results: str | Path, **options: Any) -> Start:
    """Find what `config` starts from under `results`; the run that it needs is trained where it, or its
    masks, are missing."""
    if config.source is not None:
        record = train(config.source, results=results, masks=True, **options)
        masks = archive.load_masks(config.source, results)
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


def expected_seconds(config: RunConfig, device: str = "auto") -> float:
    """How long `config` would take here, judged by a few steps on noise."""
    where = resolve_device(device)
    with isolated(where, threads(config)):
        if config.source is not None:
            _build(_plain(config.source), where)  # what cannot be trained is refused before anything starts
        run = _build(_plain(config), where)
        channels, *image = config.input_shape
        x = torch.randn(config.batch_size, *image, channels, device=where).permute(0, 3, 1, 2)
        y = torch.zeros(config.batch_size, dtype=torch.int64, device=where)
        times = []
        for _ in range(4):
            begin = time.perf_counter()
            float(_step(run, x, y)[0])
            times.append(time.perf_counter() - begin)
    return 1.1 * min(times[1:]) * config.total_steps


def _plain(config: RunConfig) -> RunConfig:
    """`config` for a few steps on noise: without what other runs have to leave first."""
    given = config.distribution_name not in (None, *DISTRIBUTIONS)
    if config.source is None and not given:
        return config
    return RunConfig(**{**config.model_dump(), "method": "static", "distribution": "erk"})


def threads(config: RunConfig) -> int:
    """CPU threads that `config` trains with: torch's own number, or one where a step is small."""
    step = 3 * config.batch_size * forward_flops(_full_layers(config))
    return 1 if step < ONE_THREAD_BELOW else torch.get_num_threads()


def _train(
    config: RunConfig,
    device: torch.device,
    dataset: Dataset,
    checkpoint: Path,
    progress: bool | None,
    start: Start,
    stop: Stop | None,
    watch: Callable[[int], AbstractContextManager[tracking.Watch]],
) -> tuple[Record, archive.Masks]:
    run = _build(config, device, start)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    done: dict[str, Any] = {
        **{"epoch": 0, "history": {}, "seconds": 0.0, "resumed": 0, "started": started},
        **{"origin": _origin(run), "density_steps": [], "densities": [], "forward": []},
    }
    _sample(run, done)
    if checkpoint.exists():
        try:
            done = _resume(run, checkpoint)
        except Exception as error:  # whatever torch makes of a file that is not a checkpoint
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            warnings.warn(f"{checkpoint} is damaged ({reason}): training starts anew", stacklevel=2)
            run = _build(config, device, start)
    training, validation = dataset.split(config.validation)
    history: History = done["history"]
    diverged = _diverged(history)
    with (
        watch(done["epoch"]) as watched,
        tqdm(
            total=config.total_steps,
            initial=done["epoch"] * config.steps_per_epoch,
            disable=None if progress is None else not progress,
            desc=config.label,
            unit="step",
        ) as bar,
    ):
        while done["epoch"] < config.total_epochs and not diverged:
            if stop is not None and stop(done["epoch"], config.total_epochs):
                raise Interrupted(f"{config.name} was stopped after {done['epoch']} epochs")
            begin = time.perf_counter()
            metrics = _epoch(run, training, dataset, done["epoch"], bar)
            if len(validation):
                loss, accuracy = _evaluate(run, validation, dataset)
                metrics |= {"validation_loss": loss, "validation_accuracy": accuracy}
            for name, value in metrics.items():
                history.setdefault(name, []).append(value)
            diverged = _diverged(history)
            done["epoch"] += 1
            if done["epoch"] in _sampled(config):
                _sample(run, done)
            done["seconds"] += time.perf_counter() - begin
            watched.epoch(run, metrics, len(training))
            bar.set_postfix(epoch=done["epoch"], density=f"{run.density():.3f}", **metrics)
            _save({"run": run.save(), "done": done}, checkpoint)
    test = None
    if not diverged:
        loss, accuracy = _evaluate(run, dataset.test, dataset)
        test = None if loss is None else accuracy
    if done["density_steps"][-1] != run.sparsifier.step_count:
        _sample(run, done)
    masks = {name: mask.cpu().numpy() for name, mask in run.sparsifier.masks.items()}
    return _record(run, dataset, done, test, start), masks


def _sampled(config: RunConfig) -> set[int]:
    """Epochs after which layer densities are set down: each of the first few, then about twenty."""
    if METHODS[config.method].share is None and not METHODS[config.method].prunes:
        return {config.total_epochs}
    return {1, 2, 3, 4, 6, 8} | {math.ceil(config.total_epochs * part / 20) for part in range(1, 21)}


def _sample(run: Run, done: dict[str, Any]) -> None:
    densities = run.sparsifier.densities
    done["density_steps"].append(run.sparsifier.step_count)
    done["densities"].append([round(densities.get(layer.name, 1.0), 9) for layer in run.layers])
    done["forward"].append(run.forward_flops())


def _diverged(history: History) -> bool:
    """Whether a loss of the last epoch is not a number."""
    return any(values[-1] is None for values in history.values())


def _origin(run: Run) -> dict[str, Any]:
    """What is set down of code and machine when a run begins."""
    commit, clean = provenance.commit()
    return {
        "commit": commit,
        "clean": clean,
        "versions": provenance.versions(),
        "device": device_name(run.device),
        "threads": torch.get_num_threads(),
        "precision": run.precision,
    }


def _resume(run: Run, checkpoint: Path) -> dict[str, Any]:
    """Load a checkpoint into `run` and return how far it was; precision and threads go on as they began."""
    saved = torch.load(checkpoint, map_location=run.device, weights_only=True)
    run.load_state_dict(saved["run"])
    done: dict[str, Any] = saved["done"]
    origin, now = done["origin"], _origin(run)
    if now["commit"] != origin["commit"] or not now["clean"]:
        origin["clean"] = False if origin["commit"] else None
    if now["device"] not in origin["device"].split(" + "):
        origin["device"] += f" + {now['device']}"
    run.precision = origin["precision"]
    torch.set_num_threads(origin["threads"])
    return {**done, "resumed": done["resumed"] + 1}


def _build(config: RunConfig, device: torch.device, start: Start | None = None) -> Run:
    """Model, optimiser and sparsifier as they are before the first step."""
    start = start or Start()
    torch.manual_seed(config.seed)
    width = math.sqrt(config.density or 1.0) if config.method == "small-dense" else 1.0
    model = _model(config, width)
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    # Weight decay is for weights alone, not for biases or normalisation (report's protocol).
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.SGD(
        [{"params": weights, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=config.momentum > 0,
        fused=True,
    )
    try:
        sparsifier = Sparsifier(
            model,
            optimizer,
            method=config.method,
            density=config.density,
            distribution=start.densities or config.distribution or "uniform",
            flops=config.flops,
            input_shape=config.input_shape,
            masks=start.masks,
            total_steps=config.total_steps,
            alpha=config.alpha,
            delta_t=config.delta_t,
            t_start=config.prune_start_steps / config.total_steps,
            t_end=config.t_end,
            preset=config.preset,
            seed=config.seed,
        )
    except ValueError as error:  # knobs that only together, or with this model, cannot be
        raise ConfigError(f"{config.method}: {error}") from None
    precision = resolve_precision(config.precision, device)
    layers = describe(model, config.input_shape)
    return Run(config, device, precision, model, optimizer, sparsifier, layers, Ledger())


def _model(config: RunConfig, width: float) -> nn.Module:
    classes = DATASETS[config.dataset].classes
    return build(config.model, classes, width, input_shape=config.input_shape, dropout=config.dropout)


def _epoch(run: Run, images: Images, dataset: Dataset, epoch: int, bar: Any) -> dict[str, float | None]:
    """Train on every image once; mean loss and accuracy (percent) over the epoch."""
    config = run.config
    # Each epoch has its own seeds, so a resumed run needs no saved random state.
    seed = config.seed * 100_003 + epoch + 1
    torch.manual_seed(seed)
    generator = torch.Generator(run.device).manual_seed(seed)
    totals = torch.zeros(2, dtype=torch.float64, device=run.device)
    run.model.train()
    for x, y in batches(
        images,
        config.batch_size,
        mean=dataset.mean,
        std=dataset.std,
        augmentation=config.augmentation,
        generator=generator,
    ):
        loss, correct = _step(run, x, y)
        totals += torch.stack((loss.double() * len(y), correct.double()))
        bar.update()
    loss_sum, correct_sum = totals.tolist()
    return {
        "train_loss": _rounded(loss_sum / len(images), 4),
        "train_accuracy": _rounded(100 * correct_sum / len(images), 2),
    }


def _step(run: Run, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """One optimiser step; (loss, number of right answers), both on the device."""
    config = run.config
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(
            run.sparsifier.step_count,
            config.learning_rate,
            config.lr_drop_every,
            config.lr_factor,
            config.warmup_steps,
        )
    run.optimizer.zero_grad()
    with torch.autocast(run.device.type, torch.bfloat16, enabled=run.precision == "bf16"):
        logits = run.model(x)
        loss = F.cross_entropy(logits, y, label_smoothing=config.label_smoothing)
    loss.backward()  # type: ignore[no-untyped-call]
    run.count_step()
    run.optimizer.step()
    return loss.detach(), (logits.detach().argmax(1) == y).sum()


@torch.no_grad()
def _evaluate(run: Run, images: Images, dataset: Dataset) -> tuple[float | None, float | None]:
    """(mean loss, top-1 accuracy in percent) without augmentation, dropout or label smoothing."""
    run.model.eval()
    totals = torch.zeros(2, dtype=torch.float64, device=run.device)
    for x, y in batches(images, EVALUATION_BATCH, mean=dataset.mean, std=dataset.std):
        with torch.autocast(run.device.type, torch.bfloat16, enabled=run.precision == "bf16"):
            logits = run.model(x)
        loss = F.cross_entropy(logits.float(), y, reduction="sum")
        totals += torch.stack((loss.double(), (logits.argmax(1) == y).sum().double()))
    loss_sum, correct = totals.tolist()
    return _rounded(loss_sum / len(images), 4), _rounded(100 * correct / len(images), 2)


def _record(run: Run, dataset: Dataset, done: dict[str, Any], test: float | None, start: Start) -> Record:
    config = run.config
    parameters = sum(p.numel() for p in run.model.parameters())
    inactive = sum(mask.numel() - int(mask.sum()) for mask in run.sparsifier.masks.values())
    history: History = done["history"]
    flops = _flops(run, start.source)
    return Record(
        name=config.name,
        status="diverged" if test is None else "finished",
        config=config,
        test_accuracy=test,
        validation_accuracy=history["validation_accuracy"][-1] if config.validation else None,
        history=history,
        density_steps=done["density_steps"],
        forward_ratio=[round(forward / flops.dense_forward, 6) for forward in done["forward"]],
        source=start.source.name if start.source else None,
        source_masks=_fingerprint(start.masks) if start.masks else None,
        layers=[
            LayerRecord(name=layer.name, shape=layer.shape, density=list(density))
            for layer, density in zip(run.layers, zip(*done["densities"], strict=True), strict=True)
        ],
        parameters=parameters,
        active_parameters=parameters - inactive,
        updates=run.sparsifier.update_count,
        flops=flops,
        state_sha256=_fingerprint(run.state_dict()),
        provenance=Provenance(
            **done["origin"],
            data_sha256=dataset.sha256,
            started=done["started"],
            wall_seconds=round(done["seconds"], 2),
            peak_memory=provenance.peak_memory(run.device),
            resumed=done["resumed"],
        ),
    )


def _flops(run: Run, source: Record | None) -> Flops:
    config, ledger = run.config, run.ledger
    dense = forward_flops(_full_layers(config))
    mean = ledger.forward / ledger.steps
    before = source.flops if source and config.method == "lottery" else None
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


def _full_layers(config: RunConfig) -> list[Layer]:
    """The layers of the dense model of full width."""
    with torch.device("meta"):
        return describe(_model(config, 1.0), config.input_shape)


def _fingerprint(state: Any) -> str:
    """SHA-256 over every tensor and number in a nested state, in order."""
    digest = hashlib.sha256()
    for path, value in _leaves("", state):
        digest.update(path.encode())
        if isinstance(value, Tensor):
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        else:
            digest.update(repr(value).encode())
    return digest.hexdigest()


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(f"{path}/{key}", inner)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _leaves(f"{path}/{index}", inner)
    else:
        yield path, value


def _save(state: dict[str, Any], path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    records.write_whole(path, buffer.getvalue())


def _rounded(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None


@contextmanager
def isolated(device: torch.device, cpu_threads: int) -> Iterator[None]:
    """Random state and threads restored afterwards, and kernels that give the same bits every time."""
    devices = [device] if device.type == "cuda" else []
    if devices:
        torch.cuda.reset_peak_memory_stats(device)
    before = torch.get_num_threads()
    torch.set_num_threads(cpu_threads)
    try:
        with (
            torch.random.fork_rng(devices),
            # flags() turns off whatever it is not told to leave on.
            torch.backends.cudnn.flags(
                enabled=torch.backends.cudnn.enabled,
                deterministic=True,
                benchmark=False,
                allow_tf32=torch.backends.cudnn.allow_tf32,
            ),
        ):
            yield
    finally:
        torch.set_num_threads(before)
