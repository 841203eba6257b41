"""Networks that really are smaller: wall times of structured sparsity."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.timing import Step, ratio, spread, times
from rigl.sparsity.compaction import compact
from rigl.training.config import RunConfig
from rigl.training.devices import resolve_precision
from rigl.training.models.dropout import draw_from
from rigl.training.run import build_run


def measure(device: torch.device, *, model: str, rounds: int, batch: int = 128) -> dict[str, Any]:
    """Times and ratios of networks that really are smaller, at density 0.1: small-dense, and RigL-struct with
    its dead channels cut out under both distributions; a training step and inference against dense.

    The channels are those of the first masks, since RigL-struct keeps their number in every layer, and batch
    norms are moved off their start, as training does: constants of dead channels have to be carried along.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 3, 32, 32, generator=generator).to(device, memory_format=torch.channels_last)
    y = torch.randint(0, 10, (batch,), generator=generator).to(device)
    bf16 = resolve_precision("auto", device) == "bf16"
    noise = torch.Generator(device)
    networks: dict[str, nn.Module] = {}
    for name, knobs in {
        "dense": {"method": "dense"},
        "small-dense": {"method": "small-dense"},
        "RigL-struct, uniform": {"method": "rigl-struct", "distribution": "uniform"},
        "RigL-struct, erk": {"method": "rigl-struct", "distribution": "erk"},
    }.items():
        run = build_run(RunConfig(protocol="paper", dataset="cifar10", model=model, **knobs), device)
        run.sparsifier.detach()
        networks[name] = run.model
        if run.config.method == "rigl-struct":
            for module in run.model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    nn.init.uniform_(module.bias, -0.5, 0.5)
            cut = compact(run.model, (3, 32, 32))
            networks[name] = cut.to(memory_format=torch.channels_last)

    def train(network: nn.Module) -> Step:
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, nesterov=True, fused=True)

        def one() -> None:
            network.train()
            draw_from(network, noise)
            optimizer.zero_grad()
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                loss = F.cross_entropy(network(x), y)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

        return one

    def infer(network: nn.Module) -> Step:
        def one() -> None:
            network.eval()
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                network(x)

        return one

    steps = {f"{name}, training": train(network) for name, network in networks.items()}
    steps |= {f"{name}, inference": infer(network) for name, network in networks.items()}
    found = times(steps, rounds, device)
    return {
        "seconds": {f"structured: {name}": spread(values) for name, values in found.items()},
        "ratios": {
            f"{name} against dense, wall time of {what}": ratio(
                found[f"{name}, {what}"], found[f"dense, {what}"]
            )
            for name in networks
            if name != "dense"
            for what in ("training", "inference")
        },
    }
