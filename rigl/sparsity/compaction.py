"""Dead channels cut out of a trained model: a smaller, plain network that computes the same."""

from __future__ import annotations

import copy
import operator
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_leaves

from rigl.sparsity.layers import CONVOLUTIONS, MASKABLE

# Work on each channel by itself and keep constants constant; as modules, functions and methods of torch.
_PASSING = re.compile(
    r"(leaky)?relu6?|[cgs]?elu|silu|mish|hard(swish|tanh|sigmoid)|sigmoid|tanh|softplus|identity|clamp|clone"
    r"|contiguous|(alpha)?dropout([123]d)?|i?(add|sub|mul)|mean|flatten|view|reshape"
    r"|(adaptive)?(avg|max)pool[123]d"
)
_OWN_FORWARD = {kind.forward for kind in (*CONVOLUTIONS, nn.Linear)}


@torch.no_grad()
def compact(model: nn.Module, input_shape: tuple[int, ...]) -> nn.Module:
    """A copy of `model` without its dead channels: in eval mode the same outputs, from smaller layers.

    model        takes one tensor and can be traced by `torch.fx`
    input_shape  one sample's shape without the batch, such as (3, 32, 32). Where the model takes images of
                 other sizes, so does the copy

    A channel is dead where its weights are exactly 0 in every layer that adds to it, where only dead
    channels feed it, or where no output depends on it. What it still sends on, through bias, batch norm and
    activation, is a constant: that goes into the next layer's bias or, where zero padding ends it at the
    border, into the weights of one dead channel kept for the purpose. A layer keeps at least one channel.

    Cut are convolutions of one group, batch norm and, on flat inputs, linear layers; through activations,
    pooling, dropout, flattening, sums and products. Whatever else makes or reads a channel keeps it, as do
    the model's output and weights used twice. The copy has the model's class, device, dtypes and mode but
    no hooks, and can be trained, saved and exported like any model; `model` stays as it is.

    Raises ValueError for a model that cannot be traced or run on such inputs, whose outputs are not finite,
    or that has parametrised weights. Model and copy are run in float64 on a random input: RuntimeError where
    they differ by more than 80 times the resolution of the model's dtype (1e-5 for float32), relative to
    the largest output.
    """
    model = getattr(model, "_orig_mod", model)  # torch.compile wraps it
    for name, module in model.named_modules():
        if isinstance(module, MASKABLE) and "weight" not in module._parameters:
            raise ValueError(f"the weight of {name} is parametrised: make it a plain parameter first")
    plain = copy.deepcopy(model)
    for module in plain.modules():
        for kind in ("forward", "forward_pre", "backward", "backward_pre"):
            getattr(module, f"_{kind}_hooks").clear()
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn((2, 2, *input_shape), generator=generator, dtype=torch.float64)
    twin, title = _double(plain), type(plain).__name__
    try:
        survey = _Survey(twin, _Tracer().trace(twin))
        survey.run(first)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{title} cannot be traced on inputs of {input_shape}: {reason}") from error
    survey.look_back()
    _cut(plain, survey, _kept(survey))
    tolerance = max([1e-10, *(80 * torch.finfo(p.dtype).eps for p in plain.parameters())])
    for before, after in zip(_outputs(twin, second), _outputs(_double(plain), second), strict=True):
        if not before.isfinite().all():
            raise ValueError(f"{title} has outputs that are not finite: nothing to compare a copy with")
        if not (before - after).abs().max() <= tolerance * before.abs().max():
            raise RuntimeError(f"{title} would compute something else without its dead channels")
    return plain


def _double(model: nn.Module) -> nn.Module:
    # On the CPU, since some devices have no float64.
    return copy.deepcopy(model).eval().to("cpu", torch.float64)


def _outputs(model: nn.Module, x: Tensor) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(model(x)) if isinstance(leaf, Tensor)]


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (*MASKABLE, _BatchNorm)) or super().is_leaf_module(m, module_qualified_name)


@dataclass(eq=False)
class _Value:
    """Dimension 1 of one tensor in the graph: its features, equally many of each channel.

    group     tensors of one group keep and lose the same channels
    channels  how many; only a flattened image has more features than channels
    varying   (features,) bool: depends on the model's input, else a constant
    needed    (features,) bool: the model's output depends on it; what varies and is not needed may be wrong
    whole     made or read by something unknown: no channel may go
    sources   the tensors it is computed from, where that is known
    used      (features, source's features) bool: which it reads; None where channel i comes of channel i
    """

    group: int
    channels: int
    varying: Tensor
    needed: Tensor
    whole: bool = False
    sources: Sequence[_Value] = ()
    used: Tensor | None = None

    def stays(self, kept: dict[int, Tensor]) -> Tensor:
        """(features,) bool, of the channels kept in each group."""
        return kept[self.group].repeat_interleave(len(self.varying) // self.channels)

    def by_channel(self, features: Tensor) -> Tensor:
        return features.view(self.channels, -1).any(1)


@dataclass(eq=False)
class _Layer:
    """A convolution or linear layer in the graph.

    constants  (features,) of its input: what does not vary, 0 for what does
    rigid      a constant cannot go into the bias: the border sees zeros in its place, or the layer's class
               has a forward of its own, which may do anything with padding and bias
    """

    name: str
    module: Any
    source: _Value
    out: _Value
    constants: Tensor
    rigid: bool

    def folded(self, columns: Tensor) -> Tensor:
        """(out, *kernel): what the constants outside `columns`, those kept, contribute."""
        weight: Tensor = self.module.weight
        return (weight * (self.constants * ~columns).view(-1, *[1] * (weight.dim() - 2))).sum(1)

    def carriers(self) -> Tensor:
        """(features,) bool: constants not so small that taking over all others' part would lose digits."""
        size = self.constants.abs()
        return (size > 0) & (size >= 0.1 * size.max())


class _Survey(fx.Interpreter):
    """Runs the graph once and notes what is to be known of its tensors' channels."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        super().__init__(model, graph=graph)
        self.values: list[_Value] = []
        self.of: dict[fx.Node, _Value] = {}
        self.layers: list[_Layer] = []
        self.norms: list[tuple[str, _BatchNorm, _Value]] = []
        self.uses = Counter(id(tensor) for node in graph.nodes for tensor in self._tensors(node))

    def _tensors(self, node: fx.Node) -> Iterable[Tensor]:
        if node.op == "call_module":
            module = self.submodules[str(node.target)]
            return chain(module.parameters(), module.buffers())
        return [self.fetch_attr(str(node.target))] if node.op == "get_attr" else []

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        inputs = [x for node in n.all_input_nodes if isinstance(x := self.env[node], Tensor)]
        sources = [self.of[node] for node in n.all_input_nodes if node in self.of]
        module = self.submodules[str(n.target)] if n.op == "call_module" else None
        known = isinstance(result, Tensor) and result.dim() > 1 and len(sources) == len(inputs) > 0
        known = known and all(self.uses[id(tensor)] == 1 for tensor in self._tensors(n))
        flat_linear = isinstance(module, nn.Linear) and result.dim() == 2
        if known and (flat_linear or (isinstance(module, CONVOLUTIONS) and module.groups == 1)):
            self._layer(n, module, sources[0], inputs[0])
        elif known and len({s.channels for s in sources}) == 1 and _passes(n, module, inputs, result):
            self._pass(n, module, sources, result.shape[1])
        elif not _asks_batch_size(n):
            for source in sources:
                source.whole = True
                source.needed.fill_(True)
            if isinstance(result, Tensor) and result.dim() > 1:
                self._value(n, torch.ones(result.shape[1], dtype=torch.bool)).whole = True
        if n in self.of:  # after an operation in place its input is its result
            self.of.update({node: self.of[n] for node, x in self.env.items() if x is result})
        return result

    def _value(self, node: fx.Node, varying: Tensor, like: _Value | None = None) -> _Value:
        group, channels = (like.group, like.channels) if like else (len(self.values), len(varying))
        value = self.of[node] = _Value(group, channels, varying, torch.zeros_like(varying))
        self.values.append(value)
        return value

    def _layer(self, node: fx.Node, module: Any, source: _Value, given: Tensor) -> None:
        constants = given[0].reshape(len(source.varying), -1)[:, 0].masked_fill(source.varying, 0)
        zeros = getattr(module, "padding_mode", None) == "zeros"  # a linear layer has none
        padded = zeros and any(module._reversed_padding_repeated_twice)
        rigid = padded or type(module).forward not in _OWN_FORWARD
        used = module.weight.ne(0).reshape(*module.weight.shape[:2], -1).any(2)
        varying = source.varying | (constants != 0) if rigid else source.varying
        out = self._value(node, (used & varying).any(1))
        out.sources, out.used = [source], used
        self.layers.append(_Layer(str(node.target), module, source, out, constants, rigid))

    def _pass(self, node: fx.Node, module: Any, sources: list[_Value], features: int) -> None:
        varying = torch.stack([source.varying for source in sources]).any(0)
        varying = varying.repeat_interleave(features // len(varying))
        if isinstance(module, _BatchNorm):
            self.norms.append((str(node.target), module, sources[0]))
            if module.affine:
                varying &= module.weight != 0
        for merged in {source.group for source in sources[1:]}:
            for value in self.values:
                value.group = sources[0].group if value.group == merged else value.group
        self._value(node, varying, sources[0]).sources = sources

    def look_back(self) -> None:
        """From the output back: what is needed of a tensor decides what is needed of its sources."""
        for value in reversed(self.values):
            asked, used = value.needed & value.varying, value.used
            for source in value.sources:
                size = len(source.needed)
                source.needed |= asked.view(size, -1).any(1) if used is None else used[asked].any(0)


def _passes(node: fx.Node, module: nn.Module | None, inputs: list[Tensor], result: Tensor) -> bool:
    """Whether channel i of the result comes of the inputs' channel i alone, and is constant if that is."""
    image, size = inputs[0], inputs[0].shape[1]
    if any((other.dim(), other.shape[1]) != (image.dim(), size) for other in inputs):
        return False
    if isinstance(module, _BatchNorm):
        return True
    target: Any = node.target if module is None else type(module)
    name = str(getattr(target, "__name__", target)).lower().replace("_", "")
    # A builtin of torch has no home.
    home = "torch" if isinstance(target, str) else str(target.__module__ or "torch").split(".")[0]
    if home not in ("torch", "_operator") or not _PASSING.fullmatch(name) or len(image) != len(result):
        return False
    if name == "mean":
        dims: Any = node.kwargs.get("dim", (*node.args, 0)[1])
        return all(dim % image.dim() > 1 for dim in (dims if isinstance(dims, (tuple, list)) else [dims]))
    if name.startswith("avgpool"):  # at the border it averages zeros in
        padding = node.kwargs.get("padding", (*node.args, 0, 0, 0)[3])
        return getattr(module, "padding", padding) in (0, (0,), (0, 0), (0, 0, 0))
    if name in ("view", "reshape") and not (result.dim() == 2 and node.args[-1] == -1):
        return False
    flattens = name in ("flatten", "view", "reshape")
    return bool(result.shape[1] % size == 0 if flattens else result.shape[1] == size)


def _asks_batch_size(node: fx.Node) -> bool:
    if node.target is getattr and node.args[1] == "shape":
        return all(user.target is operator.getitem and user.args[1] == 0 for user in node.users)
    return node.op == "call_method" and node.target == "size" and node.args[1:] == (0,)


def _kept(survey: _Survey) -> dict[int, Tensor]:
    """(channels,) bool of each group: what varies and is needed, and what carries constants; never none."""
    kept: dict[int, Tensor] = {}
    for value in survey.values:
        stays = value.by_channel(value.varying & value.needed | value.whole)
        kept[value.group] = stays | kept.get(value.group, stays)
    while True:
        votes = {group: torch.zeros(len(stays)) for group, stays in kept.items()}
        for layer in survey.layers:
            columns, carriers = layer.source.stays(kept), layer.carriers()
            loses = layer.rigid and layer.folded(columns)[layer.out.stays(kept)].any()
            if loses and not (carriers & columns).any():
                votes[layer.source.group] += layer.source.by_channel(carriers)
        wanting = [group for group, stays in kept.items() if votes[group].any() or not stays.any()]
        if not wanting:
            return kept
        for group in wanting:  # the channel that serves most layers; with it, others' outputs may want one
            kept[group][votes[group].argmax()] = True


def _cut(model: nn.Module, survey: _Survey, kept: dict[int, Tensor]) -> None:
    """Give `model`'s layers what stays of their weights, and what the constants that go contributed."""
    for layer in survey.layers:
        rows, columns = layer.out.stays(kept), layer.source.stays(kept)
        weight, bias, folded = layer.module.weight.clone(), layer.module.bias, layer.folded(columns)
        if layer.rigid and folded[rows].any():
            carrier = int((layer.constants.abs() * columns).argmax())
            weight[:, carrier] += folded / layer.constants[carrier]
        elif folded[rows].any():
            bias = folded.reshape(len(folded), -1).sum(1) + (0 if bias is None else bias)
        module: Any = model.get_submodule(layer.name)
        _put(module, weight=weight[rows][:, columns], bias=None if bias is None else bias[rows])
        kind = "features" if isinstance(module, nn.Linear) else "channels"
        setattr(module, f"out_{kind}", int(rows.sum()))
        setattr(module, f"in_{kind}", int(columns.sum()))
    for name, norm, value in survey.norms:
        rows, module = value.stays(kept), model.get_submodule(name)
        tensors = {key: getattr(norm, key) for key in ("weight", "bias", "running_mean", "running_var")}
        _put(module, **{key: tensor[rows] for key, tensor in tensors.items() if tensor is not None})
        module.num_features = int(rows.sum())


def _put(module: Any, **tensors: Tensor | None) -> None:
    for key, tensor in tensors.items():
        old = getattr(module, key)
        like = module.weight if old is None else old
        if tensor is not None:
            new = tensor.to(like.device, like.dtype)
            if new.dim() == 4 and like.is_contiguous(memory_format=torch.channels_last):
                new = new.contiguous(memory_format=torch.channels_last)
            is_buffer = key in module._buffers
            setattr(module, key, new if is_buffer else nn.Parameter(new, like.requires_grad))
