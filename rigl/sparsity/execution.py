"""How masked layers compute: dense weights times masks, or at the cost of the active weights alone.

Under sparse execution a linear layer on the CPU multiplies with PyTorch's own CSR kernels. Its weight stays
the dense parameter that it was: the values of the active weights are gathered from it in every forward pass,
and the gradients at active places are scattered into a dense ``.grad``. The kernels want a batch by columns.
At small densities its transposition takes as long as the product, so what only the next sparse layer of an
``nn.Sequential`` reads stays as the kernels made it.
"""

from __future__ import annotations

import copy
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import inf
from types import MethodType
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.optim import Optimizer

from rigl.sparsity.methods import LOCAL, Method
from rigl.sparsity.optimizers import keeps_zeros, like

EXECUTIONS = ("masked", "sparse", "auto")
# Products of a layer's weights with a batch that each thread has to do, at least, and the largest density at
# which a training step was found faster sparse: `python -m benchmarks` measures it ("crossovers") on one.
CROSSOVERS = ((20_000_000, 0.05), (100_000_000, 0.1))
# Weights of a layer from which on the optimiser's step at active places alone gains more than it costs.
COMPACT_FROM = 2**19
# Rows of a batch that are multiplied at a time.
TILE = 512
DTYPES = (torch.float32, torch.float64)
# Modules that work on each value by itself and keep the memory format.
ELEMENTWISE = (nn.Identity, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Dropout)


class Masks(Protocol):
    """What sparse execution asks of a `rigl.Sparsifier`."""

    method: Method
    optimizer: Optimizer
    masks: dict[str, Tensor]

    @property
    def update_due(self) -> bool: ...


@cache
def unavailable() -> str | None:
    """Why this torch cannot execute sparse layers; None where it can."""
    one = torch.ones(1, 1)
    pattern = Pattern.of(one > 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that CSR tensors are in beta, which torch says once
        try:
            product(csr(pattern.rows, pattern.columns, one.view(1), (1, 1)), [one])
            pattern.weight_gradient([one], [one])
        except RuntimeError as error:
            return str(error).partition("\n")[0]
    return None


def check_execution(kind: str) -> None:
    """Raise ValueError for an unknown execution, and for "sparse" where this torch has no kernels for it."""
    if kind not in EXECUTIONS:
        raise ValueError(f"execution={kind!r} is unknown: choose one of {', '.join(EXECUTIONS)}")
    if kind == "sparse" and (why := unavailable()):
        raise ValueError(f"execution='sparse' is not possible with this torch ({why}): choose auto or masked")


@dataclass(frozen=True, eq=False)
class Pattern:
    """Where the n active weights of a mask (out, in) are, as CSR of it and of its transpose, with indices
    of 32 bits.

    places   (n,) positions in the flattened mask, ascending
    rows     (out + 1,) and columns (n,) of the CSR matrix
    order    (n,) of the transpose's weights: which of `places` each is; with its rows (in + 1,), columns (n,)
    """

    shape: tuple[int, int]
    places: Tensor
    rows: Tensor
    columns: Tensor
    order: Tensor
    rows_t: Tensor
    columns_t: Tensor
    _sampled: dict[torch.dtype, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, mask: Tensor) -> Pattern:
        height, width = mask.shape
        places = mask.flatten().nonzero().flatten()
        columns = places % width
        columns_t, order = columns.sort(stable=True)
        down, across = torch.arange(height + 1) * width, torch.arange(width + 1)
        return cls(
            shape=(height, width),
            places=places,
            rows=torch.searchsorted(places, down, out_int32=True),
            columns=columns.int(),
            order=order.int(),
            rows_t=torch.searchsorted(columns_t, across, out_int32=True),
            columns_t=(places // width)[order].int(),
        )

    def values(self, weight: Tensor) -> Tensor:
        """(n,) active weights of (out, in)."""
        return weight.detach().view(-1).index_select(0, self.places)

    def scatter(self, values: Tensor, dense: Tensor) -> Tensor:
        """Write (n,) `values` to the active places of `dense`, contiguous and of the mask's shape."""
        dense.view(-1).scatter_(0, self.places, values)
        return dense

    def weight_gradient(self, gradients: Sequence[Tensor], parts: Sequence[Tensor]) -> Tensor:
        """(n,) the active weights' gradient, of the `tiles` of (batch, out) and (batch, in), in memory that
        the next call uses again."""
        dtype = gradients[0].dtype
        if dtype not in self._sampled:
            nothing = torch.zeros(len(self.places), dtype=dtype)
            self._sampled[dtype] = csr(self.rows, self.columns, nothing, self.shape)
        matrix = self._sampled[dtype]
        values: Tensor = matrix.values().zero_()
        for gradient, part in zip(gradients, parts, strict=True):
            torch.sparse.sampled_addmm(matrix, gradient, part.t(), out=matrix)  # copies no indices
        return values


def csr(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    return torch.sparse_csr_tensor(rows, columns, values, shape, check_invariants=False)


def tiles(x: Tensor) -> list[Tensor]:
    """Parts of (batch, features) as (features, batch), contiguous: more than fits a cache would be read from
    memory once for each active weight."""
    parts = torch.split(x, TILE) if len(x) > TILE else (x,)
    return [part.t().contiguous() for part in parts]


def product(
    matrix: Tensor, parts: Sequence[Tensor], bias: Tensor | None = None, columns: bool = False
) -> Tensor:
    """(batch, out) of a CSR matrix (out, in) and the `tiles` of (batch, in); stored by `columns`, it needs no
    transposition."""

    def rows(part: Tensor) -> Tensor:
        result: Tensor = torch.sparse.mm(matrix, part, "sum")
        if bias is not None:
            result += bias[:, None]
        return result.t()

    if len(parts) == 1:
        return rows(parts[0]) if columns else rows(parts[0]).contiguous()
    shape = sum(part.shape[1] for part in parts), matrix.shape[0]
    out = parts[0].new_empty(shape[::-1]).t() if columns else parts[0].new_empty(shape)
    for part, into in zip(parts, torch.split(out, TILE), strict=True):
        into.copy_(rows(part))
    return out


class _SparseLinear(torch.autograd.Function):
    """`torch.nn.functional.linear` by a pattern; the weight's gradient is dense, and 0 at inactive places."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, layer: SparseLayer, pattern: Pattern
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        parts = tiles(rows)
        values = pattern.values(weight)
        matrix = csr(pattern.rows, pattern.columns, values, pattern.shape)
        result = product(matrix, parts, bias, layer.feeds_sparse(len(rows)))
        ctx.save_for_backward(values, *parts)
        ctx.layer, ctx.pattern, ctx.shape = layer, pattern, x.shape
        ctx.columns = not rows.is_contiguous() and rows.t().is_contiguous()
        return result.view(*x.shape[:-1], -1).detach()  # a view could not be written to in place

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, *parts = ctx.saved_tensors
        pattern: Pattern = ctx.pattern
        rows = gradients[0].reshape(-1, pattern.shape[0])
        down = tiles(rows)
        for_x = for_weight = for_bias = None
        if ctx.needs_input_grad[0]:
            values = values.index_select(0, pattern.order)
            matrix = csr(pattern.rows_t, pattern.columns_t, values, pattern.shape[::-1])
            for_x = product(matrix, down, columns=ctx.columns).view(ctx.shape)
        if ctx.needs_input_grad[1]:
            if ctx.layer.wants_dense:
                for_weight = down[0] @ parts[0].t()
                for some, part in zip(down[1:], parts[1:], strict=True):
                    for_weight.addmm_(some, part.t())
            else:
                for_weight = ctx.layer.gradient(pattern, pattern.weight_gradient(down, parts))
        if ctx.needs_input_grad[2]:
            for_bias = rows.sum(0)
        return for_x, for_weight, for_bias, None, None


class SparseLayer:
    """Takes the place of a linear layer's ``forward``.

    Copied or pickled with its module alone, it is that module's own forward again.
    """

    def __init__(self, name: str, module: nn.Linear, masks: Masks, always: bool) -> None:
        self.name, self.module, self.masks, self.always = name, module, masks, always
        self.weight = module.weight
        self.why: str | None = None
        self.next: SparseLayer | None = None
        self._seen: tuple[int, int] | None = None
        self._pattern: Pattern | None = None
        self._buffer: Tensor | None = None
        self._alone = self._written = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self.module, "forward")  # asked before the module has its state: the class's

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return _own_forward(copy.deepcopy(self.module, memo))

    def __call__(self, x: Tensor) -> Tensor:
        module = self.module
        if torch.compiler.is_compiling() or torch._C._get_tracing_state():
            return F.linear(x, module.weight, module.bias)
        pattern = self.pattern
        self.why = self._excuse(x) if pattern or self.weight.device.type != "cpu" else None
        if pattern is None or self.why:
            return F.linear(x, module.weight, module.bias)
        result: Tensor = _SparseLinear.apply(x, module.weight, module.bias, self, pattern)
        return result

    def _excuse(self, x: Tensor) -> str | None:
        """What keeps this input from sparse kernels, in a word."""
        weight = self.module.weight
        if weight is not self.weight:
            return "another weight"
        if x.device.type != "cpu" or weight.device.type != "cpu":
            return x.device.type
        if torch.is_autocast_enabled("cpu"):
            return "autocast"
        if weight.dtype not in DTYPES or x.dtype != weight.dtype:
            return str(x.dtype).removeprefix("torch.")
        if not x.numel() or not weight.is_contiguous():
            return "layout"
        if not self._gains(x.numel() // x.shape[-1]):
            return "small batch"
        return None

    def _gains(self, rows: int) -> bool:
        """Whether so many rows are to be multiplied by the pattern."""
        pattern = self.pattern
        if pattern is None:
            return False
        return self.always or worthwhile(len(pattern.places), self.weight.numel(), rows)

    @property
    def pattern(self) -> Pattern | None:
        """That of the mask as it is; None where dense kernels compute it."""
        mask = self.masks.masks[self.name]
        seen = id(mask), mask._version
        if seen != self._seen:
            self._pattern = Pattern.of(mask) if mask.device.type == "cpu" and self._chosen(mask) else None
            self._seen, self._buffer = seen, None
        return self._pattern

    def _chosen(self, mask: Tensor) -> bool:
        active, size = int(mask.sum()), mask.numel()
        return 0 < active < size and (self.always or worthwhile(active, size))

    def feeds_sparse(self, rows: int) -> bool:
        """Whether nobody reads the result but another sparse layer, which wants it by columns."""
        return self.next is not None and self.next._gains(rows)

    @property
    def wants_dense(self) -> bool:
        """Whether the method needs the gradient of inactive weights too, at this step."""
        return self.masks.method.needs_dense_gradients(self.masks.update_due)

    @property
    def compact(self) -> bool:
        """Whether the optimiser had better step at active places alone."""
        return self.pattern is not None and self.weight.numel() >= COMPACT_FROM

    @property
    def gradient_is_masked(self) -> bool:
        """Whether the weight's gradient is as `gradient` wrote it last, under the mask as it is."""
        if self.pattern is None or self._buffer is None:  # the pattern first: a new one has no buffer yet
            return False
        gradient = self.weight.grad
        if gradient is None or gradient.data_ptr() != self._buffer.data_ptr():
            return False
        return gradient._version == self._written

    def gradient(self, pattern: Pattern, values: Tensor) -> Tensor:
        """The dense gradient that has these values at active places and 0 elsewhere.

        A layer's gradients lie in the same memory, whose zeros need not be written again, as long as nobody
        else still holds the last one or wrote to it.
        """
        buffer = self._buffer
        if buffer is None or _holders(buffer) > self._alone:
            buffer = self._buffer = torch.zeros(pattern.shape, dtype=values.dtype)
            self._alone = _holders(buffer)
        elif buffer._version != self._written:
            buffer.zero_()
        pattern.scatter(values, buffer)
        self._written = buffer._version
        return buffer.detach()  # autograd may keep this one; it has the buffer's memory and version


def _holders(tensor: Tensor) -> int:
    """How many hold a tensor's memory."""
    count: int = torch._C._storage_Use_Count(tensor.untyped_storage()._cdata)
    return count


def worthwhile(active: int, size: int, rows: float = inf) -> bool:
    """Whether a layer of so many weights was found to train faster sparse, on batches of so many rows."""
    products = size * rows / torch.get_num_threads()
    return any(products >= least and active < density * size + 1 for least, density in CROSSOVERS)


def _own_forward(module: nn.Module) -> Any:
    return MethodType(type(module).forward, module)


def _obstacle(module: nn.Module) -> str | None:
    """Why a module's layer stays masked whatever its input, in a word; None where it need not."""
    if not isinstance(module, nn.Linear):
        return type(module).__name__
    fused = isinstance(module, nn.modules.linear.NonDynamicallyQuantizableLinear)
    other = module.__dict__.get("forward", _own_forward(module)) != _own_forward(module)
    if fused or other or type(module).forward is not nn.Linear.forward:
        return "fused projection" if fused else "own forward"
    if module.weight.device.type != "cpu":
        return module.weight.device.type
    if module.weight.dtype not in DTYPES:
        return str(module.weight.dtype).removeprefix("torch.")
    return unavailable()


def chains(model: nn.Module) -> dict[nn.Module, nn.Module]:
    """For linear layers in ``nn.Sequential`` the next one, where only elementwise modules lie between."""
    found: dict[nn.Module, nn.Module] = {}
    for parent in model.modules():
        last = None
        for module in parent if type(parent) is nn.Sequential else ():
            if type(module) in ELEMENTWISE:
                continue
            if last is not None and isinstance(module, nn.Linear):
                found[last] = module
            last = module if isinstance(module, nn.Linear) else None
    return found


class Execution:
    """How the layers of one sparsifier compute, and its optimiser's step at their active places alone.

    `chained` has the `chains` of the model.
    """

    def __init__(
        self,
        kind: str,
        masks: Masks,
        modules: Mapping[str, nn.Module],
        chained: Mapping[nn.Module, nn.Module],
    ) -> None:
        self.layers: dict[str, SparseLayer] = {}
        self.why: dict[str, str] = {}
        self.masks = masks
        for name, module in modules.items() if kind != "masked" else ():
            if why := _obstacle(module):
                self.why[name] = why
            else:
                assert isinstance(module, nn.Linear)
                layer = self.layers[name] = SparseLayer(name, module, masks, always=kind == "sparse")
                module.forward = layer  # type: ignore[assignment, method-assign]
        by_module: dict[nn.Module, SparseLayer] = {layer.module: layer for layer in self.layers.values()}
        for module, following in chained.items():
            if module in by_module:
                by_module[module].next = by_module.get(following)

    def gradient_is_masked(self, name: str) -> bool:
        """Whether the gradient of this weight is known to be 0 at inactive places."""
        layer = self.layers.get(name)
        return layer is not None and layer.gradient_is_masked

    def detach(self) -> None:
        """Give the modules their own forward back."""
        for layer in self.layers.values():
            if layer.module.__dict__.get("forward") is layer:
                del layer.module.__dict__["forward"]
        self.layers = {}

    def describe(self, name: str) -> str:
        """How a layer computes now, in a few words."""
        layer = self.layers.get(name)
        why = layer.why if layer else self.why.get(name)
        if why:
            return f"masked ({why})"
        return "sparse" if layer and layer.pattern else "masked"

    @torch.no_grad()
    def step(self) -> list[Tensor]:
        """Take the optimiser's step for large sparse layers at active places alone; returns their weights,
        which the step proper has to leave alone."""
        optimizer, grow = self.masks.optimizer, self.masks.method.grow
        # What grows by the optimiser's state needs it at inactive places too, and a gradient scaler may
        # decide during the step; a later hook wants to see gradients before it.
        scaled = any(getattr(optimizer, key, None) is not None for key in ("grad_scale", "found_inf"))
        last = next(reversed(optimizer._optimizer_step_pre_hooks.values()), None)
        if scaled or grow not in (*LOCAL, "gradient") or getattr(last, "__self__", None) is not self.masks:
            return []
        layers = {id(layer.weight): layer for layer in self.layers.values() if layer.compact}
        groups, moved = [], []
        states: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        for group in optimizer.param_groups if layers else ():
            if group.get("fused"):
                continue  # passes over dense weights once, in no more time than gathering and scattering
            values = []
            for weight in group["params"]:
                layer, state = layers.get(id(weight)), optimizer.state.get(weight, {})
                if layer is None or layer.pattern is None or not keeps_zeros(optimizer, [weight]):
                    continue
                if not _plain(weight, weight.grad, *state.values()):
                    continue
                pattern = layer.pattern
                active = pattern.values(weight)
                active.grad = pattern.values(weight.grad)
                states[active] = {
                    key: pattern.values(value) if like(value, weight) else value
                    for key, value in state.items()
                }
                values.append(active)
                moved.append((weight, pattern, active))
            if values:
                groups.append({**group, "params": values})
        if not moved:
            return []
        twin = copy.copy(optimizer)  # without its hooks
        twin.state, twin.param_groups = states, groups
        twin.step()
        for weight, pattern, active in moved:
            pattern.scatter(active, weight)
            state = optimizer.state[weight]
            for key, value in states[active].items():
                if not like(value, active):
                    state[key] = value
                elif like(state.get(key), weight):
                    pattern.scatter(value, state[key])
                else:
                    state[key] = pattern.scatter(value, torch.zeros_like(weight))
        return [weight for weight, _, _ in moved]


def _plain(weight: Tensor, gradient: Tensor | None, *state: Any) -> bool:
    """Whether there is a dense gradient, and all that has the weight's shape can be written to by places."""
    if gradient is None or gradient.layout != torch.strided or gradient.dtype != weight.dtype:
        return False
    return all(tensor.is_contiguous() for tensor in (weight, *state) if like(tensor, weight))
