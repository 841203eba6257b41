"""One training run: from a config to its record, checkpointed every epoch, resumable bit for bit."""

from __future__ import annotations

import hashlib
import io
import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from rigl import provenance, records
from rigl.config import DATASETS, RunConfig
from rigl.data import Dataset, Images, batches, load
from rigl.devices import device_name, resolve_device, resolve_precision
from rigl.flops import forward_flops, training_flops
from rigl.layers import describe
from rigl.models import build
from rigl.records import Flops, LayerRecord, Provenance, Record
from rigl.schedules import learning_rate
from rigl.shapes import Layer
from rigl.sparsifier import Sparsifier

EVALUATION_BATCH = 500
# Below this many FLOPs a step a second CPU thread gains nothing, and on a busy machine costs a lot.
ONE_THREAD_BELOW = 1e9
History = dict[str, list[float | None]]


@dataclass
class Run:
    """What one run trains, on its device."""

    config: RunConfig
    device: torch.device
    precision: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    sparsifier: Sparsifier

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "sparsifier": self.sparsifier.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.sparsifier.load_state_dict(state["sparsifier"])


def train(
    config: RunConfig,
    *,
    device: str = "auto",
    results: str | Path = "results",
    data: str | Path | None = None,
    progress: bool | None = None,
    again: bool = False,
) -> Record:
    """Train as `config` says and keep the record under `results`; a finished run's record is just read.

    device    ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``, ...
    data      where the data sets lie: see `rigl.data.load`
    progress  a bar; None shows one in a terminal or a notebook only
    again     train anew, although there is a record or a checkpoint

    After every epoch a checkpoint is written under ``results/.checkpoints``. After a kill the same call
    goes on from there and ends with the same weights, masks, momentum and metrics, bit for bit, on the
    same device. Of two processes that train one config, the second waits and reads the record. A loss
    that is not a number ends the run with the status "diverged". The global random state is left as it
    was.

    Raises ConfigError for a device that is not there, DataError and RecordError.
    """
    where = resolve_device(device)
    path = records.path_of(config, results)
    checkpoint = Path(results) / ".checkpoints" / f"{config.name}.pt"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(checkpoint.with_suffix(".lock")):
        if again:
            checkpoint.unlink(missing_ok=True)
        elif path.exists():
            checkpoint.unlink(missing_ok=True)  # left by a kill just after the record was written
            return records.load(path)
        dataset = load(config.dataset, data).pooled(config.pool).to(where)
        with isolated(where, threads(config)):
            record = _train(config, where, dataset, checkpoint, progress)
        records.save(record, results)
        checkpoint.unlink(missing_ok=True)
    return record


def expected_seconds(config: RunConfig, device: str = "auto") -> float:
    """How long `config` would take here, judged by a few steps on noise."""
    where = resolve_device(device)
    with isolated(where, threads(config)):
        run = _build(config, where)
        channels, *image = config.input_shape
        x = torch.randn(config.batch_size, *image, channels, device=where).permute(0, 3, 1, 2)
        y = torch.zeros(config.batch_size, dtype=torch.int64, device=where)
        times = []
        for _ in range(4):
            begin = time.perf_counter()
            float(_step(run, x, y)[0])
            times.append(time.perf_counter() - begin)
    return 1.1 * min(times[1:]) * config.total_steps


def threads(config: RunConfig) -> int:
    """CPU threads that `config` trains with: torch's own number, or one where a step is small."""
    step = 3 * config.batch_size * forward_flops(_full_layers(config))
    return 1 if step < ONE_THREAD_BELOW else torch.get_num_threads()


def _train(
    config: RunConfig, device: torch.device, dataset: Dataset, checkpoint: Path, progress: bool | None
) -> Record:
    run = _build(config, device)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    initial = run.sparsifier.densities
    done: dict[str, Any] = {
        **{"epoch": 0, "history": {}, "seconds": 0.0, "resumed": 0, "started": started},
        "origin": _origin(run),
    }
    if checkpoint.exists():
        try:
            done = _resume(run, checkpoint)
        except Exception as error:  # whatever torch makes of a file that is not a checkpoint
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            warnings.warn(f"{checkpoint} is damaged ({reason}): training starts anew", stacklevel=2)
            run = _build(config, device)
    training, validation = dataset.split(config.validation)
    history: History = done["history"]
    diverged = _diverged(history)
    with tqdm(
        total=config.total_steps,
        initial=done["epoch"] * config.steps_per_epoch,
        disable=None if progress is None else not progress,
        desc=config.label,
        unit="step",
    ) as bar:
        while done["epoch"] < config.total_epochs and not diverged:
            begin = time.perf_counter()
            metrics = _epoch(run, training, dataset, done["epoch"], bar)
            if len(validation):
                loss, accuracy = _evaluate(run, validation, dataset)
                metrics |= {"validation_loss": loss, "validation_accuracy": accuracy}
            for name, value in metrics.items():
                history.setdefault(name, []).append(value)
            diverged = _diverged(history)
            done["epoch"] += 1
            done["seconds"] += time.perf_counter() - begin
            bar.set_postfix(epoch=done["epoch"], density=f"{_density(run):.3f}", **metrics)
            _save({"run": run.state_dict(), "done": done}, checkpoint)
    test = None
    if not diverged:
        loss, accuracy = _evaluate(run, dataset.test, dataset)
        test = None if loss is None else accuracy
    return _record(run, dataset, initial, done, test)


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


def _build(config: RunConfig, device: torch.device) -> Run:
    """Model, optimiser and sparsifier as they are before the first step."""
    torch.manual_seed(config.seed)
    width = math.sqrt(config.density) if config.method == "small-dense" else 1.0
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
    sparsifier = Sparsifier(
        model,
        optimizer,
        method=config.method,
        density=config.density,
        distribution=config.distribution or "uniform",
        total_steps=config.total_steps,
        alpha=config.alpha,
        delta_t=config.delta_t,
        t_end=config.t_end,
        preset=config.preset,
        seed=config.seed,
    )
    precision = resolve_precision(config.precision, device)
    return Run(config, device, precision, model, optimizer, sparsifier)


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


def _record(
    run: Run, dataset: Dataset, initial: dict[str, float], done: dict[str, Any], test: float | None
) -> Record:
    config, final = run.config, run.sparsifier.densities
    layers = describe(run.model, config.input_shape)
    parameters = sum(p.numel() for p in run.model.parameters())
    inactive = sum(mask.numel() - int(mask.sum()) for mask in run.sparsifier.masks.values())
    history: History = done["history"]
    return Record(
        name=config.name,
        status="diverged" if test is None else "finished",
        config=config,
        test_accuracy=test,
        validation_accuracy=history["validation_accuracy"][-1] if config.validation else None,
        history=history,
        density_steps=[0, run.sparsifier.step_count],
        layers=[
            LayerRecord(
                name=layer.name,
                shape=layer.shape,
                density=[round(at.get(layer.name, 1.0), 6) for at in (initial, final)],
            )
            for layer in layers
        ],
        parameters=parameters,
        active_parameters=parameters - inactive,
        updates=run.sparsifier.update_count,
        flops=_flops(config, layers, final),
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


def _flops(config: RunConfig, layers: list[Layer], densities: dict[str, float]) -> Flops:
    dense = forward_flops(_full_layers(config))
    forward = forward_flops(layers, {layer.name: densities.get(layer.name, 1.0) for layer in layers})
    training = training_flops(config.method, dense, forward, delta_t=config.delta_t)
    return Flops(
        dense_forward=dense,
        forward=forward,
        training=training,
        train_ratio=config.multiplier * training / (3 * dense),
        test_ratio=forward / dense,
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


def _density(run: Run) -> float:
    masks = run.sparsifier.masks
    if not masks:
        return 1.0
    sizes = {name: mask.numel() for name, mask in masks.items()}
    return sum(sizes[n] * d for n, d in run.sparsifier.densities.items()) / sum(sizes.values())


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
