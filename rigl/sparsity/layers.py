"""Which of a model's weights can be masked, and how often one sample uses each of them."""

from __future__ import annotations

import copy
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from rigl.sparsity.shapes import Layer

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
MASKABLE = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)


def maskable(model: nn.Module) -> list[tuple[str, nn.Module, nn.Parameter]]:
    """Name, module and weight of every convolution and linear layer, in the model's order.

    Chosen by module type, so never a bias and never a normalisation. A weight that two modules share
    comes once; a frozen one (``requires_grad`` False) and a parametrised one do not come at all. Names
    are those of ``model.named_parameters()``, without the prefix that torch.compile adds; a weight shared
    with a module of another type, such as an embedding, goes by its convolution or linear layer.
    """
    found: dict[int, tuple[str, nn.Module, nn.Parameter]] = {}
    for prefix, module in model.named_modules():
        weight = module._parameters.get("weight") if isinstance(module, MASKABLE) else None
        if weight is not None and nn.parameter.is_lazy(weight):
            raise ValueError(f"{prefix or 'weight'} has no shape yet: pass a batch through the model first")
        if weight is not None and weight.requires_grad and weight.numel():
            name = f"{prefix}.weight" if prefix else "weight"
            found.setdefault(id(weight), (name.replace("_orig_mod.", ""), module, weight))
    return list(found.values())


def describe(model: nn.Module, input_shape: tuple[int, ...] | None = None) -> list[Layer]:
    """The maskable layers of `model`, in its order.

    input_shape  one sample's shape without the batch, e.g. (3, 32, 32); without it the layers'
                 `positions` are 0 and their FLOPs unknown. Every use of a weight in one forward pass
                 counts.

    The pass runs on a copy of the model whose tensors have no data (torch's meta device): the model's
    parameters, buffers, hooks, mode and every random state stay as they are. Raises ValueError for a
    model without a maskable layer, one that is lazy and has no shapes yet, and an input_shape that does not
    go through it.
    """
    rows = maskable(model)
    if not rows:
        raise ValueError(f"{type(model).__name__} has no convolution or linear layer to mask")
    positions = _positions(model, input_shape) if input_shape is not None else {}
    return [
        Layer(
            name=name,
            kind="linear" if isinstance(module, nn.Linear) else "conv",
            shape=tuple(weight.shape),
            positions=positions.get(name, 0),
        )
        for name, module, weight in rows
    ]


def _positions(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, int]:
    # Handing deepcopy the tensors' stand-ins copies the model's structure without any of its data.
    tensors = [*model.parameters(), *model.buffers()]
    twin = copy.deepcopy(model, {id(tensor): _on_meta(tensor) for tensor in tensors}).eval()
    counts: dict[str, int] = {}

    def count(name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(module, nn.Linear):
            used = output.numel() // module.out_features
        else:
            image = inputs[0] if isinstance(module, TRANSPOSED) else output
            used = prod(image.shape[2:])
        counts[name] = counts.get(name, 0) + used

    names = {id(weight): name for name, _, weight in maskable(twin)}
    for module in twin.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
        if isinstance(module, MASKABLE) and id(module._parameters.get("weight")) in names:
            module.register_forward_hook(partial(count, names[id(module.weight)]))
    try:
        with torch.no_grad():
            twin(torch.empty((1, *input_shape), device="meta"))
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"input_shape={tuple(input_shape)} does not go through the model as floats: {reason}"
        ) from error
    return counts


def _on_meta(tensor: Tensor) -> Tensor:
    empty = torch.empty_like(tensor, device="meta", requires_grad=False)
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
