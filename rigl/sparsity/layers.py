"""Which of a model's weights can be masked, which are chosen, and how often one sample uses each of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import partial
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rigl.sparsity.shapes import Layer

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
MASKABLE = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)
EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)

# A pattern of parameter or module names, a type of module, or a function of a parameter's name and module.
Selector = str | type[nn.Module] | Callable[[str, nn.Module], bool]
Selectors = Selector | Iterable[Selector]


class Maskable(NamedTuple):
    """A weight that can be masked.

    name      the parameter's name in its model
    module    the module that holds it
    weight    the parameter itself
    kind      ``"conv"`` or ``"linear"``
    channels  the dimension of its output channels; None where one row belongs to no channel of its own, as in
              a transposed convolution or in matrices stored as one
    """

    name: str
    module: nn.Module
    weight: nn.Parameter
    kind: str
    channels: int | None


def maskable(model: nn.Module, *, tied: bool = False) -> list[Maskable]:
    """Every weight of `model` that can be masked, in the model's order.

    These are the weights of convolutions, linear and bilinear layers, recurrent layers and their cells,
    `nn.MultiheadAttention` and the ``Conv1D`` of Hugging Face's GPT-2, which is a linear layer stored
    transposed. They are chosen by module type, so never a bias and never a normalisation. A weight that two
    modules share comes once, and not at all where one of them is an embedding, unless `tied`; nor do frozen
    weights (``requires_grad`` False) and parametrised ones. Names are those of ``model.named_parameters()``,
    without the prefix that torch.compile adds.

    Raises ValueError for a lazy module that has no shape yet.
    """
    embeddings = [module for module in model.modules() if isinstance(module, EMBEDDINGS)]
    embedded = set() if tied else {id(module.weight) for module in embeddings}
    found: dict[int, Maskable] = {}
    for prefix, module in model.named_modules():
        for attribute, kind, channels in _weights(module):
            weight = module._parameters.get(attribute)
            if weight is None:
                continue
            if nn.parameter.is_lazy(weight):
                raise ValueError(
                    f"{prefix or 'weight'} has no shape yet: pass a batch through the model first"
                )
            if weight.requires_grad and weight.numel() and id(weight) not in embedded:
                name = _plain(f"{prefix}.{attribute}" if prefix else attribute)
                found.setdefault(id(weight), Maskable(name, module, weight, kind, channels))
    return list(found.values())


def chosen(
    model: nn.Module, include: Selectors | None = None, exclude: Selectors | None = None
) -> list[Maskable]:
    """What of `maskable` is included, all of it where `include` is None, and not excluded.

    A pattern is matched, as by `fnmatch.fnmatchcase`, with every name of a parameter and of its module:
    ``"encoder.*"``, ``"*.attn.*"``, ``"lm_head"``. A weight shared with an embedding has to be included.

    Raises ValueError where a selector meets nothing, with the nearest names.
    """
    found = maskable(model, tied=include is not None)
    names: dict[int, list[str]] = {}
    for name, parameter in parameters(model).items():
        names.setdefault(id(parameter), []).append(name)

    def meets(selector: Selector, row: Maskable) -> bool:
        if isinstance(selector, str):
            return any(_like(name, selector) for name in names[id(row.weight)])
        if isinstance(selector, type):
            return isinstance(row.module, selector)
        return bool(selector(row.name, row.module))

    for word, selectors in (("include", include), ("exclude", exclude)):
        for selector in _each(selectors):
            if any(meets(selector, row) for row in found):
                continue
            if isinstance(selector, str):
                every = [name for same in names.values() for name in same]
                # It is no mistake to exclude what is not masked anyway.
                if word == "exclude" and any(_like(name, selector) for name in every):
                    continue
                near = get_close_matches(selector, [row.name for row in found] or every, n=3, cutoff=0.0)
                raise ValueError(
                    f"{word}={selector!r} meets no weight that can be masked; the nearest: {', '.join(near)}"
                )
            called = getattr(selector, "__name__", repr(selector))
            raise ValueError(f"{word}={called} meets no weight that can be masked")
    return [
        row
        for row in found
        if (include is None or any(meets(selector, row) for selector in _each(include)))
        and not any(meets(selector, row) for selector in _each(exclude))
    ]


def describe(
    model: nn.Module,
    input_shape: tuple[int, ...] | None = None,
    *,
    include: Selectors | None = None,
    exclude: Selectors | None = None,
) -> list[Layer]:
    """The maskable layers of `model`, in its order.

    input_shape       one sample's shape without the batch, e.g. (3, 32, 32); without it the layers'
                      `positions` are 0 and their FLOPs unknown. Every use of a weight in one forward pass
                      counts.
    include, exclude  as for `rigl.Sparsifier`

    The pass runs on a copy of the model whose tensors have no data (torch's meta device): the model's
    parameters, buffers, hooks, mode and every random state stay as they are. Raises ValueError for a
    model without a maskable layer, one that is lazy and has no shapes yet, and an input_shape that does not
    go through it.
    """
    return described(model, chosen(model, include, exclude), input_shape)


def described(
    model: nn.Module, rows: Sequence[Maskable], input_shape: tuple[int, ...] | None = None
) -> list[Layer]:
    """`describe` for weights that are chosen already."""
    if not rows:
        raise ValueError(f"{type(model).__name__} has no convolution or linear layer to mask")
    positions = _positions(model, input_shape) if input_shape is not None else {}
    return [Layer(row.name, row.kind, tuple(row.weight.shape), positions.get(row.name, 0)) for row in rows]


def parameters(model: nn.Module, *, aliases: bool = True) -> dict[str, nn.Parameter]:
    """Every parameter by each of its names, or only its first, without the prefix that torch.compile adds."""
    return {_plain(name): p for name, p in model.named_parameters(remove_duplicate=not aliases)}


def tied(model: nn.Module) -> list[tuple[str, str]]:
    """The names of maskable weights that are an embedding's too, each beside the embedding's."""
    embedded = {
        id(module.weight): name for name, module in model.named_modules() if isinstance(module, EMBEDDINGS)
    }
    rows = maskable(model, tied=True)
    return [(row.name, _plain(embedded[id(row.weight)])) for row in rows if id(row.weight) in embedded]


def parametrised(model: nn.Module) -> list[str]:
    """Modules of a maskable type whose weight is computed from other parameters, as `weight_norm` does."""
    return [
        _plain(name)
        for name, module in model.named_modules()
        if isinstance(module, MASKABLE) and module._parameters.get("weight") is None
    ]


def ignores_zeros(row: Maskable) -> bool:
    """Whether a module makes something else of weights that are 0, as a convolution does that standardises
    its weight.

    Only convolutions and linear layers with a forward pass of their own are tried, and on a copy: an input
    whose weights are all 0 must have no effect on the output.
    """
    module = row.module
    plain = any(type(module).forward is kind.forward for kind in MASKABLE)
    if plain or not isinstance(module, (*CONVOLUTIONS, nn.Linear)):
        return False
    twin = copy.deepcopy(module).eval()
    size: tuple[int, ...]
    if isinstance(twin, nn.Linear):
        size, inputs = (1, twin.in_features), twin.in_features
    else:
        reach = [d * (k - 1) + 1 for k, d in zip(twin.kernel_size, twin.dilation, strict=True)]
        size, inputs = (1, twin.in_channels, *reach), twin.in_channels // twin.groups
    if inputs < 2:
        return False
    x = torch.ones(size, dtype=row.weight.dtype, device=row.weight.device, requires_grad=True)
    try:
        with torch.enable_grad():
            twin.weight.data[:, 0] = 0
            (gradient,) = torch.autograd.grad(twin(x).square().sum(), x)
    except Exception:  # a module that is called otherwise is its author's business
        return False
    return bool(gradient[:, 0].any())


def _weights(module: nn.Module) -> Iterator[tuple[str, str, int | None]]:
    """The attributes of a module's maskable weights, the kind of layer, and the dimension of channels."""
    if isinstance(module, CONVOLUTIONS):
        yield "weight", "conv", 0
    elif isinstance(module, TRANSPOSED):
        yield "weight", "conv", None
    elif isinstance(module, (nn.Linear, nn.Bilinear)):
        yield "weight", "linear", 0
    elif _stored_transposed(module):
        yield "weight", "linear", 1
    elif isinstance(module, nn.MultiheadAttention):
        for projection in ("in", "q", "k", "v"):
            yield f"{projection}_proj_weight", "linear", None
    elif isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        for attribute in module._parameters:
            if attribute.startswith("weight_"):
                yield attribute, "linear", None


def _stored_transposed(module: nn.Module) -> bool:
    """Whether it is transformers' Conv1D, told by what it has: `nf` outputs and a weight (inputs, nf)."""
    weight, outputs = module._parameters.get("weight"), getattr(module, "nf", None)
    return type(module).__name__ == "Conv1D" and weight is not None and tuple(weight.shape[1:]) == (outputs,)


def _positions(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, float]:
    # Handing deepcopy the tensors' stand-ins copies the model's structure without any of its data.
    tensors = [*model.parameters(), *model.buffers()]
    twin = copy.deepcopy(model, {id(tensor): _on_meta(tensor) for tensor in tensors}).eval()
    names = {id(row.weight): row.name for row in maskable(twin, tied=True)}
    counts: dict[str, float] = {}

    def count(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        for weight, used in _uses(module, inputs, named, output):
            if (name := names.get(id(weight))) is not None:
                counts[name] = counts.get(name, 0) + used

    for module in twin.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
        if next(_weights(module), None) is not None:
            module.register_forward_hook(count, with_kwargs=True)
    try:
        with torch.no_grad():
            twin(torch.empty((1, *input_shape), device="meta"))
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"input_shape={tuple(input_shape)} does not go through the model as floats: {reason}"
        ) from error
    return counts


def _uses(
    module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any
) -> Iterator[tuple[Tensor | None, float]]:
    """The weights that one call of a module uses, and how often each."""
    own = partial(module._parameters.get)
    if isinstance(module, nn.MultiheadAttention):
        given = dict(zip(("query", "key", "value"), inputs, strict=False)) | named
        query, key, value = (_rows(given[name]) for name in ("query", "key", "value"))
        all_three = query + key + value
        yield own("in_proj_weight"), all_three // 3 if all_three % 3 == 0 else all_three / 3
        yield own("q_proj_weight"), query
        yield own("k_proj_weight"), key
        yield own("v_proj_weight"), value
        yield module.out_proj.weight, query  # which it does not call as a module
    elif isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        used = _rows(getattr(inputs[0], "data", inputs[0]))  # of a packed sequence too
        for attribute, _, _ in _weights(module):
            yield own(attribute), used
    elif isinstance(module, TRANSPOSED):
        yield own("weight"), prod(inputs[0].shape[2:])
    elif isinstance(module, CONVOLUTIONS):
        yield own("weight"), prod(output.shape[2:])
    else:
        yield own("weight"), _rows(output)


def _rows(x: Tensor) -> int:
    return x.numel() // x.shape[-1]


def _on_meta(tensor: Tensor) -> Tensor:
    empty = torch.empty_like(tensor, device="meta", requires_grad=False)
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def _plain(name: str) -> str:
    return name.replace("_orig_mod.", "")


def _like(name: str, pattern: str) -> bool:
    """Whether a parameter's name, or that of its module, is of a pattern."""
    return fnmatchcase(name, pattern) or fnmatchcase(name.rpartition(".")[0], pattern)


def _each(selectors: Selectors | None) -> list[Selector]:
    if selectors is None:
        return []
    return [selectors] if isinstance(selectors, (str, type)) or callable(selectors) else list(selectors)
