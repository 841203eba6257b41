"""Sparse models that are smaller on disk and faster at inference."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rigl.sparsity.execution import DTYPES, Pattern, csr, product, tiles, unavailable
from rigl.sparsity.layers import maskable

FORMAT = "rigl-sparse-1"


def save_sparse(model: nn.Module, path: str | Path) -> None:
    """Write a sparse model's parameters and buffers to a safetensors file, exact to the bit.

    Of a weight that `rigl.sparsity.layers.maskable` names, and that is smaller so, the file holds the values
    that are not 0, ``NAME.values``, and a bit for each place, ``NAME.mask``, with the places of -0 in
    ``NAME.signs`` where there are any; all else as it is. Needs
    safetensors (``pip install rigl-book[safetensors]``).

    Raises ValueError, and writes nothing, for a model without a weight that is smaller so, or with state that
    is no tensor.
    """
    from safetensors.torch import save_file

    sparse = {row.name for row in maskable(model)}
    tensors: dict[str, Tensor] = {}
    layout: dict[str, Any] = {"sparse": {}, "same": {}}
    seen: dict[tuple[Any, ...], str] = {}
    for name, tensor in model.state_dict().items():
        if not isinstance(tensor, Tensor):
            raise ValueError(f"{name} is no tensor, so a safetensors file cannot hold it")
        tensor = tensor.detach().cpu()
        same = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if tensor.numel() and seen.setdefault(same, name) != name:
            layout["same"][name] = seen[same]
            continue
        parts = _packed(tensor) if name in sparse else {}
        if parts and sum(part.nbytes for part in parts.values()) < tensor.nbytes:
            tensors |= {f"{name}.{part}": value for part, value in parts.items()}
            layout["sparse"][name] = list(tensor.shape)
        else:
            tensors[name] = tensor.contiguous().clone()
    if not layout["sparse"]:
        raise ValueError(f"{type(model).__name__} is not sparse: none of its weights would be smaller")
    kept = json.dumps(layout, sort_keys=True)
    described = {"format": FORMAT, "layout": kept, "sha256": _digest(kept, tensors)}
    target = Path(path)
    partial = target.with_name(f".{target.name}.part")
    try:
        save_file(tensors, partial, described)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def load_sparse(model: nn.Module, path: str | Path) -> None:
    """Load what `save_sparse` wrote into `model`, in place. To train it on, attach a `Sparsifier` with
    ``masks="nonzero"``.

    Nothing in a file is ever executed. Raises ValueError, and changes nothing, for a file that is damaged or
    of another kind, and where names, shapes or dtypes are not the model's.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            described = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged, or no safetensors file: {error}") from None
    if described.get("format") != FORMAT:
        raise ValueError(f"{path} is no file of save_sparse: its format is {described.get('format')!r}")
    kept = described.get("layout", "")
    if described.get("sha256") != _digest(kept, tensors):
        raise ValueError(f"{path} is damaged: its tensors do not have the hash that was saved with them")
    layout = json.loads(kept)
    for name, shape in layout["sparse"].items():
        values = tensors.pop(f"{name}.values")
        tensor = torch.zeros(shape, dtype=values.dtype)
        if (signs := tensors.pop(f"{name}.signs", None)) is not None:
            tensor.masked_fill_(_unpacked(signs, shape), -0.0)
        tensors[name] = tensor.masked_scatter_(_unpacked(tensors.pop(f"{name}.mask"), shape), values)
    tensors |= {name: tensors[first] for name, first in layout["same"].items()}
    _check_fit(model, tensors, path)
    model.load_state_dict(tensors)


def sparse_inference(model: nn.Module, density: float = 0.1) -> nn.Module:
    """A copy of `model` on the CPU, for inference, whose sparse linear layers keep and multiply with their
    weights that are not 0 alone.

    density  the most that a layer's share of such weights may be. Denser ones, and small ones, are faster
             as they are; so they and all other layers stay

    The copy computes the same up to rounding, cannot be trained, and is in evaluation mode.
    Raises ValueError where no linear layer is that sparse, and where this torch has no kernels for it.
    """
    if why := unavailable():
        raise ValueError(f"sparse inference is not possible with this torch: {why}")
    plain = copy.deepcopy(getattr(model, "_orig_mod", model)).cpu().eval()
    places = [
        (name, module)
        for name, module in plain.named_modules()
        if type(module) is nn.Linear and module.weight.dtype in DTYPES
    ]
    found = False
    for name, module in places:
        weight = module._parameters.get("weight")
        if weight is None or int(weight.count_nonzero()) > density * weight.numel():
            continue
        found = True
        sparse = SparseLinear(module.weight.detach(), module.bias)
        if not name:
            return sparse.requires_grad_(False)
        plain.set_submodule(name, sparse)
    if not found:
        raise ValueError(f"{type(model).__name__} has no linear layer of at most density={density}")
    return plain.requires_grad_(False)


class SparseLinear(nn.Module):
    """A linear layer for inference that holds its weight (out, in) as CSR, with indices of 32 bits."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.rows: Tensor
        self.columns: Tensor
        self.values: Tensor
        self.bias: Tensor | None
        self.out_features, self.in_features = weight.shape
        pattern = Pattern.of(weight != 0)
        self.register_buffer("rows", pattern.rows)
        self.register_buffer("columns", pattern.columns)
        self.register_buffer("values", pattern.values(weight))
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        shape = self.out_features, self.in_features
        matrix = csr(self.rows, self.columns, self.values, shape)
        return product(matrix, tiles(x.reshape(-1, self.in_features)), self.bias).view(*x.shape[:-1], -1)

    def extra_repr(self) -> str:
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, weights={len(self.values)}"


def _packed(tensor: Tensor) -> dict[str, Tensor]:
    """The values that are not 0 in the order of places, a bit for each place, and one for the sign of a 0."""
    flat = tensor.contiguous().flatten()
    mask = flat != 0
    parts = {"values": flat[mask], "mask": torch.from_numpy(np.packbits(mask.numpy()))}
    signs = flat.signbit() & ~mask
    if signs.any():
        parts["signs"] = torch.from_numpy(np.packbits(signs.numpy()))
    return parts


def _unpacked(bits: Tensor, shape: Sequence[int]) -> Tensor:
    mask = np.unpackbits(bits.numpy(), count=int(np.prod(shape))).astype(bool)
    return torch.from_numpy(mask).view(*shape)


def _digest(layout: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(layout.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _check_fit(model: nn.Module, tensors: Mapping[str, Tensor], path: str | Path) -> None:
    own = model.state_dict()
    for name in own.keys() | tensors.keys():
        if name not in tensors or name not in own:
            which = "the file has no" if name not in tensors else "the model has no"
            raise ValueError(f"{path} does not fit {type(model).__name__}: {which} {name}")
        mine, saved = own[name], tensors[name]
        if (mine.shape, mine.dtype) != (saved.shape, saved.dtype):
            raise ValueError(
                f"{path} does not fit {type(model).__name__}: {name} is {saved.dtype} of "
                f"{tuple(saved.shape)} in the file, {mine.dtype} of {tuple(mine.shape)} in the model"
            )
