"""A sparse method for any model and torch optimiser, in one line of anybody's training loop."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rigl.sparsity import checks
from rigl.sparsity.execution import Execution, chains, check_execution
from rigl.sparsity.first_masks import FirstMasks
from rigl.sparsity.layers import (
    Selectors,
    chosen,
    described,
    ignores_zeros,
    parameters,
)
from rigl.sparsity.masks import multiply
from rigl.sparsity.methods import LOCAL, Method, method_named, preset_named
from rigl.sparsity.optimizers import (
    WEIGHT_COPIES,
    check_optimizer,
    check_state,
    initial_values,
    keeps_zeros,
    state_of,
    tensors_of,
    unwrapped,
)
from rigl.sparsity.schedules import DECAYS, drop_fraction, pruning_density
from rigl.sparsity.updates import (
    MaskedWeight,
    MaskUpdate,
    drop_and_grow,
    prune_and_regrow,
    prune_to,
)


class Moved(NamedTuple):
    """How many weights of a layer an update dropped, and how many it grew."""

    dropped: int
    grown: int


OnUpdate = Callable[[int, dict[str, Moved]], object]

# Layers up to this size keep their masks as numbers too: all of them are then multiplied in one call.
# A larger one is multiplied as fast by bools.
FLOAT_MASKS_TO = 2**20


class Sparsifier:
    """Trains `model` sparsely by `method`, through hooks on `optimizer`; the training loop does not change.

    model         any torch model. Masked are the weights that `optimizer` trains and that
                  `rigl.sparsity.layers.maskable` lists: those of convolutions and of linear, recurrent,
                  attention and bilinear layers
    optimizer     any torch optimiser over the model's parameters that takes one gradient per step (LBFGS does
                  not). State tensors of a masked weight's shape are masked with it
    method        a name of `rigl.sparsity.methods.METHODS`, such as ``"rigl"``, ``"set"``, ``"static"`` or
                  ``"pruning"``, or a `rigl.sparsity.methods.Method` of your own. ``"dense"`` and
                  ``"small-dense"`` mask nothing
    density       active weights over all weights, in (0, 1]. Pruning starts dense, GraNet at 0.5, and both
                  end at this density. Structured masks come as close as whole channels allow, rounded layer
                  by layer. Required unless `distribution` is a map, or `flops` or `masks` are given
    distribution  how layers share the density, by name or as ``{name: density}``, which may leave the rest
                  to a distribution, ``{"head.weight": 0.5, "*": "erk"}``: see
                  `rigl.sparsity.distributions.layer_densities`. Pruning needs none
    include       weights to mask instead of all maskable ones: patterns of parameter or module names
                  (``"encoder.*"``), module types, or functions of (name, module); one or several
    exclude       weights to leave dense, given likewise. They do not count in the density
    flops         a budget in place of `density`: forward FLOPs over dense, in (0, 1]; needs `input_shape`
    input_shape   one sample's shape without the batch, such as (3, 32, 32), where FLOPs matter
    masks         masks to start from, ``{name: bool tensor}``, instead of random ones. ``"lottery"`` and
                  ``"rigl-reinit"`` need those of a finished run. ``"nonzero"`` keeps the weights that are
                  not 0, as of a network pruned before; ``"magnitude"`` keeps the largest of each layer, as
                  many as density and distribution give it
    total_steps   optimiser steps of the whole training
    alpha         drop fraction at the start (report, equation 1)
    decay         how the drop fraction falls: ``"cosine"``, ``"linear"``, ``"constant"`` or
                  ``"inverse-power"``, see `rigl.sparsity.schedules.drop_fraction`
    delta_t       steps from one mask update to the next
    t_start       share of `total_steps` at which pruning begins, also GraNet's
    t_end         share of `total_steps` after which masks stay fixed; pruning's last update is the first at
                  or after it
    preset        ``"repro2021"`` or ``"google"``: see `rigl.sparsity.methods.Preset`
    seed          determines the random masks: the first ones, and what SET and MEST grow
    on_update     called after each mask update with the step and ``{name: Moved(dropped, grown)}``, the
                  weights dropped and grown in each masked layer; a weight that was both counts as both
    execution     ``"masked"`` multiplies dense weights by masks. ``"sparse"`` computes linear layers on the
                  CPU, in float32 and float64, at the cost of their active weights; ``"auto"`` does so where
                  a layer's density and a thread's share of its products with the batch make that faster.
                  Results are equal up to rounding. Layers that cannot be sparse stay masked: see `summary`.
                  Gradients of inactive weights that the method does not need are then 0 from the start, also
                  for a clipped norm

    An update replaces one optimiser step. It uses the current dense gradients and hides them from the
    optimiser, which therefore steps no parameter; afterwards the gradients are restored. Since the hooks sit
    on the optimiser, accumulated and averaged (DDP) gradients count, and a step that a gradient scaler skips
    postpones an update that is due. An update whose gradients are not finite is skipped, with a warning.
    Weights, masks and optimiser state keep their storage, and the global random state is not touched. A
    weight that is frozen later keeps its mask. A copy (or pickle) of model and optimizer alone is plain; a
    copy of all three trains sparsely like the original.

    Attach it to the weights that training starts from. Weights that are loaded into the model later are
    masked at the next step, with a warning if they were not masked. `apply_masks` masks averages of weights,
    as of EMA and SWA.

    Raises ValueError for an unknown method, distribution or preset, LBFGS, momentum-based methods on SGD
    without momentum, a density outside (0, 1], both a density and flops, total_steps or delta_t that are not
    whole numbers above 0, alpha, t_start or t_end outside [0, 1], masks that are missing or of another model,
    a model with nothing to mask, a pattern that matches nothing, a layer whose forward pass undoes its mask,
    and weights that another sparsifier masks already. Warns if total_steps leave a method no update, if an
    output layer stays dense because it shares its weight with an embedding, of parametrised weights, and if
    less than half of the weights in matrices are masked without `include` or `exclude`.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        method: str | Method,
        density: float | None = None,
        distribution: str | Mapping[str, float | str] = "erk",
        include: Selectors | None = None,
        exclude: Selectors | None = None,
        flops: float | None = None,
        input_shape: tuple[int, ...] | None = None,
        masks: Mapping[str, Tensor] | str | None = None,
        total_steps: int,
        alpha: float = 0.3,
        decay: str = "cosine",
        delta_t: int = 100,
        t_start: float = 0.0,
        t_end: float = 0.75,
        preset: str = "repro2021",
        seed: int = 0,
        on_update: OnUpdate | None = None,
        execution: str = "masked",
    ) -> None:
        # Validation
        self.method = method_named(method)
        self.preset = preset_named(preset)
        for name, value in (("total_steps", total_steps), ("delta_t", delta_t)):
            if not (value >= 1 and value % 1 == 0):
                raise ValueError(f"{name}={value} must be a whole number, at least 1")
        for name, share in (("alpha", alpha), ("t_start", t_start), ("t_end", t_end)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name}={share} must lie in [0, 1]")
        if decay not in DECAYS:
            raise ValueError(f"decay={decay!r} is unknown: choose one of {', '.join(DECAYS)}")
        if self.method.source and masks is None:
            raise ValueError(
                f"{self.method.name} starts from a finished {self.method.source} run: give its masks"
            )
        if self.method.moves and not self.preset.updates_from_0 and delta_t < 10:
            if delta_t < 2:
                raise ValueError(f"delta_t={delta_t} makes every step an update, and those train nothing")
            warnings.warn(
                f"delta_t={delta_t}: an update takes a step's place, so one step in {delta_t} trains nothing",
                stacklevel=2,
            )
        check_execution(execution)
        if not self.method.masked:
            density, flops = 1.0, None
        elif self.method.prunes and flops is not None:
            raise ValueError(f"flops={flops}: {self.method.name} can only be given a density")
        self.optimizer = optimizer = unwrapped(optimizer)
        self._settings: dict[str, Any] = {
            "preset": self.preset.name,
            "total_steps": int(total_steps),
            "alpha": float(alpha),
            "decay": decay,
            "delta_t": int(delta_t),
            "t_start": float(t_start),
            "t_end": float(t_end),
        }
        drawn = masks is None or masks == "magnitude"
        if drawn or self.method.prunes:
            self._settings["density"] = density
        if drawn:
            by = dict(distribution) if isinstance(distribution, Mapping) else distribution
            self._settings |= {"distribution": by, "flops": flops}
        self.alpha, self.decay, self.delta_t, self.seed = alpha, decay, delta_t, seed
        self.on_update = on_update
        self.prune_from, self.last_update_before = t_start * total_steps, t_end * total_steps
        self.step_count = 0
        self.update_count = 0
        self._last_update = -1

        # First masks
        weights, first = self._find(model, optimizer, input_shape, distribution, include, exclude)
        if self.method.prunes:
            self._end_density = first.check_pruned(density)
            self._last_prune_step = self._find_last_prune_step(total_steps)
        if self.method.grow is not None and self._first_update >= self.last_update_before:
            warnings.warn(
                f"delta_t={delta_t} leaves {self.method.name} no update before t_end={t_end} of "
                f"total_steps={total_steps}: its masks stay as they are, so it should be smaller",
                stacklevel=2,
            )
        begins = self._start_density if self.method.prunes else density
        first_masks = first.made(masks, weights, begins, flops, seed)

        # Attaching
        self._weights = weights if self.method.masked else {}
        self.masks: dict[str, Tensor] = {}
        self._float_masks: dict[str, Tensor] = {}
        self._counted: dict[str, tuple[tuple[int, int], int]] = {}
        for name, weight in self._weights.items():
            mask = torch.empty_like(weight, dtype=torch.bool, requires_grad=False)
            self.masks[name] = mask.copy_(first_masks[name])
            if mask.numel() <= FLOAT_MASKS_TO:
                self._float_masks[name] = mask.to(weight.dtype)
            self._remember(name, int(mask.sum()))
        self._masks_seen: list[tuple[int, int]] = []
        self._weight_versions: list[int] = []
        self._state_seen: list[tuple[int, int]] = []
        self._hidden: list[tuple[Tensor, Tensor | None]] = []
        self._warned: set[str] = set()
        self._state_checked = False
        self._clear()
        self.execution = execution
        self._chained = chains(model) if execution != "masked" else {}
        self._attach()

    def _find(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        input_shape: tuple[int, ...] | None,
        distribution: str | Mapping[str, float | str],
        include: Selectors | None,
        exclude: Selectors | None,
    ) -> tuple[dict[str, nn.Parameter], FirstMasks]:
        """The weights to mask, and what draws their first masks.

        Raises ValueError where there are none, for an optimiser that the method cannot go by, and for another
        sparsifier over the same weights.
        """
        if self.method.masked:
            check_optimizer(optimizer, self.method)
        trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
        every = chosen(model, include, exclude)
        found = [row for row in every if id(row.weight) in trained]
        weights = {row.name: row.weight for row in found}
        layers = [layer for layer in described(model, every, input_shape) if layer.name in weights]
        if not layers:
            raise ValueError(f"the optimizer trains no convolution or linear layer of {type(model).__name__}")
        self._channels = {row.name: row.channels for row in found}
        first = FirstMasks(self.method, self.preset, layers, self._channels, distribution)
        self._always_dense = first.always_dense
        self._left_dense = checks.left_dense(model, weights, trained)
        if self.method.masked:
            checks.check_layout(found, model)
            check_state(optimizer, () if self.method.dense_state else weights.values())
            other, name = checks.owner_of(weights)
            if other is not None:
                mine = other.optimizer is optimizer
                which = "this optimizer's weights already" if mine else f"{name} in another optimizer already"
                raise ValueError(f"{other.method.name} masks {which}: detach() it first")
            for row in found:
                if ignores_zeros(row):
                    raise ValueError(
                        f"{row.name} cannot be masked: {type(row.module).__name__} makes something else of "
                        f"weights that are 0; exclude={row.name!r} leaves it dense"
                    )
            checks.warn_of_what_stays_dense(
                model, weights, self._left_dense, include is None and exclude is None
            )
        leaves = {row.name: row.name.rpartition(".")[2] for row in found}
        self._places: dict[str, tuple[nn.Module, str]] = {
            row.name: (row.module, leaves[row.name])
            for row in found
            if row.module._parameters.get(leaves[row.name]) is row.weight
        }
        return weights, first

    def _attach(self) -> None:
        self._hooks = [
            self.optimizer.register_step_pre_hook(self._before_step),
            self.optimizer.register_step_post_hook(self._after_step),
        ]
        places = self._places.items() if self.method.masked else ()
        modules = {name: module for name, (module, _) in places}
        self._execution = Execution(self.execution, self, modules, self._chained)
        checks.claim(self)

    # Optimisers leave their hooks behind when they are copied.
    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_hooks": bool(self._hooks), "_execution": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _hooks=[], _execution=Execution("masked", self, {}, {}))
        if state["_hooks"]:
            self._attach()

    @property
    def _start_density(self) -> float:
        """The density at which pruning starts."""
        return max(self.method.start, self._end_density)

    def _find_last_prune_step(self, total_steps: int) -> int:
        """The step of pruning's last update: the first one due at or after t_end, else the last there is."""
        first = self._first_update
        while first < self.prune_from:
            first += self.delta_t
        last = first
        while last < self.last_update_before:
            last += self.delta_t
        # Where updates do not advance the step count, as many optimiser steps come on top.
        while last + ((last - first) // self.delta_t + 1 if self.preset.updates_from_0 else 1) > total_steps:
            last -= self.delta_t
        if last < first:
            raise ValueError(
                f"delta_t={self.delta_t} leaves {self.method.name} no update between t_start and the end of "
                f"total_steps={total_steps}: it should be smaller"
            )
        return last

    @property
    def _first_update(self) -> int:
        """The first step at which masks may be updated at all."""
        return 0 if self.preset.updates_from_0 else self.delta_t - 1

    @property
    def densities(self) -> dict[str, float]:
        """Density of every masked layer, by parameter name; reading it waits for the device."""
        self._warn_of_strays(only_changed=True)
        return {name: self._active(name) / mask.numel() for name, mask in self.masks.items()}

    def summary(self) -> str:
        """A table for people: every masked weight, its shape, active and all weights, and density; below it
        the weights in matrices that are left dense."""
        self._warn_of_strays()
        rows: list[tuple[str, ...]] = [("weight", "shape", "active", "all", "density")]
        total_active = total = 0
        for name, mask in self.masks.items():
            active, size = self._active(name), mask.numel()
            shape = "x".join(map(str, mask.shape))
            rows.append((name, shape, f"{active:,}", f"{size:,}", f"{active / size:.4f}"))
            total_active, total = total_active + active, total + size
        share = f"{total_active / total:.4f}" if total else "-"
        rows.append(("total", "", f"{total_active:,}", f"{total:,}", share))
        if self.execution != "masked":
            how = ["execution", *map(self._execution.describe, self.masks), ""]
            rows = [(*row, text) for row, text in zip(rows, how, strict=True)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        aligned = [
            [
                text.ljust(width) if column < 2 else text.rjust(width)
                for column, (text, width) in enumerate(row)
            ]
            for row in (zip(row, widths, strict=True) for row in rows)
        ]
        left = [
            f"left dense: {name} ({'x'.join(map(str, shape))}), {share:.1%} of the model's weights"
            for name, (shape, share) in self._left_dense.items()
        ]
        return "\n".join([f"{self.method.name}, step {self.step_count:,}", *map("  ".join, aligned), *left])

    def state_dict(self) -> dict[str, Any]:
        """Masks, counts and seed: with the model's and the optimiser's own, all that a resume needs; beside
        them the settings, by which `load_state_dict` can tell another sparsifier's state."""
        self._warn_of_strays()
        return {
            "method": self.method.name,
            "seed": self.seed,
            "step_count": self.step_count,
            "update_count": self.update_count,
            "last_update": self._last_update,
            "masks": {name: mask.clone() for name, mask in self.masks.items()},
            "active": {name: self._active(name) for name in self.masks},
            "settings": copy.deepcopy(self._settings),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load what `state_dict` gave into the masks in place, and mask the weights by them.

        A model whose layers come in another order goes on as the saved one would have: layers keep the
        order that they have in the state.

        Raises ValueError, and changes nothing, where it is another method's or another model's, was made for
        another density, distribution or preset, is damaged, or not complete. Warns of another schedule.
        """
        changes = checks.checked_state(state, self.method.name, self.masks, self._settings)
        if changes:
            warnings.warn(f"the schedule is not the saved one: {'; '.join(changes)}", stacklevel=2)
        for name, mask in state["masks"].items():
            self._weights[name] = self._weights.pop(name)
            self.masks[name] = self.masks.pop(name).copy_(mask)
        self._sync_masks()
        self.seed = state["seed"]
        self.step_count = state["step_count"]
        self.update_count = state["update_count"]
        self._last_update = state["last_update"]
        # Multiplied as after a step: a run that diverged goes on with the very weights it had.
        self._mask(self._weights.items())
        self._note_changes()
        self._state_seen = []  # which may still be that of other masks

    @torch.no_grad()
    def apply_masks(self, model: nn.Module) -> None:
        """Set to 0, in place, what is inactive here in another model of these weights: an average of them, as
        of EMA and SWA, has a value wherever a weight was ever active.

        `model` may be wrapped (AveragedModel, DistributedDataParallel, torch.compile). Raises ValueError, and
        changes nothing, where it has no such weights.
        """
        found = parameters(model)
        while not self.masks.keys() <= found.keys() and "module" in model._modules:
            model = model.get_submodule("module")
            found = parameters(model)
        for name, mask in self.masks.items():
            if name not in found or found[name].shape != mask.shape:
                raise ValueError(f"{type(model).__name__} has no weight {name} of shape {tuple(mask.shape)}")
        for name, mask in self.masks.items():
            found[name].masked_fill_(mask.logical_not().to(found[name].device), 0)

    def detach(self) -> None:
        """Remove the hooks; weights stay as they are and train densely from here on."""
        self._execution.detach()
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        checks.release(self)

    @property
    def update_due(self) -> bool:
        """Whether the coming optimiser step is a mask update."""
        pruning = self.method.prunes and self.prune_from <= self.step_count <= self._last_prune_step
        moving = self.method.grow is not None and self.step_count < self.last_update_before
        if not pruning and not moving:
            return False
        if self.preset.updates_from_0:
            return self.step_count % self.delta_t == 0 and self._last_update != self.step_count
        return (self.step_count + 1) % self.delta_t == 0

    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        args, kwargs, replaced = _evaluate_closure(args, kwargs) if self._weights else (args, kwargs, False)
        self._skip = _overflowed(optimizer)
        self._updating = self.update_due and not self._skip
        self._sync_masks()
        self._check_weights()
        if self._updating:
            self._unscale(optimizer)
            if self._goes_by_gradient and not checks.gradients_finite(self._weights.values()):
                self._warn_once(
                    f"the gradients of step {self.step_count} are not finite: it changes no mask or weight",
                    "gradients",
                )
                self._last_update = self.step_count
            else:
                self._update()
            self._hide([p for group in optimizer.param_groups for p in group["params"] if p.grad is not None])
        # Masking again can be left out while the optimiser keeps zeros at 0, and nobody has written to masks,
        # state or weights since the last step.
        self._state_keeps_zeros = (
            not self._updating
            and keeps_zeros(optimizer, self._weights.values())
            and _stamps(self.masks.values()) == self._masks_seen
            and self._state_stamps() == self._state_seen
        )
        masked = self.preset.masks_momentum and not self.method.dense_state
        self._weights_keep_zeros = masked and self._state_keeps_zeros and not self._changed
        if not self._updating:
            if not self._skip:
                self._hide(self._execution.step())
            if not self.method.dense_state:
                known = self._execution.gradient_is_masked
                self._mask((name, weight.grad) for name, weight in self._weights.items() if not known(name))
        return (args, kwargs) if replaced else None

    def _hide(self, parameters: Sequence[Tensor]) -> None:
        """Make the optimiser's step leave `parameters` alone; after it their gradients are back."""
        self._hidden = [(parameter, parameter.grad) for parameter in parameters]
        for parameter in parameters:
            parameter.grad = None

    def _after_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for parameter, gradient in self._hidden:
            parameter.grad = gradient
        self._hidden = []
        if not self._weights_keep_zeros:
            self._mask(self._weights.items())
        self._mask_state()
        self._note_changes()
        if not self._skip and not (self._updating and self.preset.updates_from_0):
            self.step_count += 1

    @property
    def _goes_by_gradient(self) -> bool:
        return not self.method.only_prunes and any(score not in LOCAL for score in self.method.scores)

    def _check_weights(self) -> None:
        """Raise RuntimeError for weights that are no longer the model's, and mask anew, with a warning, what
        somebody else wrote to. A fused step does not change a tensor's version, so that another optimiser's
        is noticed every `delta_t` steps only."""
        for name, weight in self._weights.items():
            place = self._places.get(name)
            if place is not None and place[0]._parameters.get(place[1]) is not weight:
                raise RuntimeError(
                    f"{name} was replaced in the model since the sparsifier was attached: detach() it and "
                    "attach another to the optimizer that trains the new one, with masks=sparsifier.masks"
                )
        if self._updating or self._changed or (self.step_count + 1) % self.delta_t == 0:
            if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
                return  # which cannot wait for the device
            if found := checks.strays(self._weights, self.masks):
                self._warn_once(
                    f"{_in_words(found)} before step {self.step_count}: something other than this optimizer "
                    "wrote to them or to their masks; they are set to 0",
                    "written",
                )
                self._mask((name, self._weights[name]) for name in found)

    @property
    def _changed(self) -> bool:
        """Whether somebody wrote to a weight since the last step, as far as tensors tell."""
        return [weight._version for weight in self._weights.values()] != self._weight_versions

    def _warn_of_strays(self, only_changed: bool = False) -> None:
        """Warn where the model is not as sparse as the masks say, as it is when the hooks do not run."""
        if not self._hooks or (only_changed and not self._changed):
            return
        if found := checks.strays(self._weights, self.masks):
            self._warn_once(
                f"{_in_words(found)} after step {self.step_count}, the last that the sparsifier saw: its "
                "hooks run with the optimizer's own step(); apply_masks(model) sets them to 0",
                "strays",
            )

    def _warn_once(self, message: str, kind: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(message, stacklevel=3)

    def _note_changes(self) -> None:
        """Take note of masks, weights and state as they are when masked."""
        self._masks_seen = _stamps(self.masks.values())
        self._weight_versions = [weight._version for weight in self._weights.values()]
        self._state_seen = self._state_stamps()

    def _state_stamps(self) -> list[tuple[int, int]]:
        states = (state_of(self.optimizer, weight).values() for weight in self._weights.values())
        return _stamps(value for state in states for value in state if isinstance(value, Tensor))

    def _mask_state(self) -> None:
        """Mask the optimiser's state; of a dense one only the copies of weights."""
        dense = self.method.dense_state or not self.preset.masks_momentum
        if not self._state_checked and any(state_of(self.optimizer, w) for w in self._weights.values()):
            self._state_checked = True
            if not self.method.dense_state:
                check_state(self.optimizer, self._weights.values())
                self._check_initial_state()
        if self._state_keeps_zeros and not dense:
            return  # what was masked is still 0, which saves a third of the memory traffic and more
        self._mask(
            (name, value)
            for name, weight in self._weights.items()
            for key, value in tensors_of(self.optimizer, weight).items()
            if not dense or key in WEIGHT_COPIES
        )
        for name, weight in self._weights.items():
            for key, value in () if dense else initial_values(self.optimizer, weight).items():
                if value and key in (state := tensors_of(self.optimizer, weight)):
                    state[key].masked_fill_(self.masks[name].logical_not(), value)

    def _check_initial_state(self) -> None:
        """Warn where an optimiser that is not torch's begins a weight's state with something other than 0."""
        if type(self.optimizer).__module__.startswith("torch.optim."):
            return
        for name, weight in self._weights.items():
            for key, value in tensors_of(self.optimizer, weight).items():
                if key not in WEIGHT_COPIES and checks.strays({name: value}, self.masks):
                    self._warn_once(
                        f"{type(self.optimizer).__name__} begins {key} with something other than 0, "
                        "and of a grown weight with 0",
                        key,
                    )

    @torch.no_grad()
    def _unscale(self, optimizer: Optimizer) -> None:
        """Undo a gradient scaler's factor, which a fused optimiser would only undo itself in the step."""
        if (scale := getattr(optimizer, "grad_scale", None)) is not None:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        parameter.grad.div_(scale.to(parameter.device))

    @torch.no_grad()
    def _update(self) -> None:
        """Update all masks by the method's rule, and with them weights and the optimiser's state."""
        parts = {
            name: MaskedWeight(
                weight,
                self.masks[name],
                self._active(name),
                state_of(self.optimizer, weight),
                self._generator(weight.device, index),
                channels=self._channels[name] if self.method.channels else None,
            )
            for index, (name, weight) in enumerate(self._weights.items())
            if name not in self._always_dense and weight.requires_grad  # or somebody froze it since
        }
        each = list(parts.values())
        fraction = drop_fraction(self.step_count, self.last_update_before, self.alpha, self.decay)
        updates: list[MaskUpdate | None]
        if self.method.only_prunes:
            updates = [*prune_to(each, self._pruning_count(each))]
        elif self.method.prunes:
            updates = prune_and_regrow(each, self._pruning_count(each), fraction, self.method, self.preset)
        else:
            updates = drop_and_grow(each, fraction, self.method, self.preset)
        moved = dict.fromkeys(self.masks, Moved(0, 0))
        for (name, part), update in zip(parts.items(), updates, strict=True):
            if update is not None:
                self._apply(name, part.weight, update)
                moved[name] = Moved(update.dropped, update.grown)
        self.update_count += 1
        self._last_update = self.step_count
        if self.on_update is not None:
            self.on_update(self.step_count, moved)

    def _pruning_count(self, parts: list[MaskedWeight]) -> int:
        """Active weights that the schedule leaves now."""
        at_end = self.step_count >= self._last_prune_step
        density = pruning_density(
            self.step_count, self._end_density, self.prune_from, self.last_update_before, self._start_density
        )
        size = sum(part.mask.numel() for part in parts)
        count = round((self._end_density if at_end else density) * size)
        return max(len(parts), min(count, sum(part.active for part in parts)))

    def _apply(self, name: str, weight: Tensor, update: MaskUpdate) -> None:
        mask = self.masks[name]
        # Filled, not multiplied by a mask: what is dropped may be NaN.
        # Channels too: one set to 0 sends nothing through ReLU, gets no gradient, and would stay dead.
        if self.preset.keeps_regrown or self.method.channels:
            begun = update.mask & mask.logical_not()
            weight.masked_fill_(update.mask.logical_not(), 0)
        else:
            begun = update.survivors.logical_not()
            weight.masked_fill_(begun, 0)
        if not self.method.dense_state:
            initial = initial_values(self.optimizer, weight)
            for key, state in tensors_of(self.optimizer, weight).items():
                state.masked_fill_(begun, initial.get(key, 0))
        mask.copy_(update.mask)
        self._remember(name, update.active)

    @torch.no_grad()
    def _clear(self) -> None:
        """Set inactive weights to 0, whatever they were."""
        for name, weight in self._weights.items():
            inactive = self.masks[name].logical_not()
            weight.masked_fill_(inactive, 0)
            for key, state in tensors_of(self.optimizer, weight).items():
                if key in WEIGHT_COPIES:
                    state.masked_fill_(inactive, 0)
        self._note_changes()

    @torch.no_grad()
    def _mask(self, tensors: Iterable[tuple[str, Tensor | None]]) -> None:
        """Multiply tensors, each beside its weight's name, by the masks, in place: small ones in one call."""
        pairs = []
        for name, tensor in tensors:
            if tensor is not None and name in self._float_masks:
                pairs.append((tensor, self._float_masks[name]))
            elif tensor is not None:
                multiply(tensor, self.masks[name])
        if pairs:
            torch._foreach_mul_([tensor for tensor, _ in pairs], [factor for _, factor in pairs])

    def _generator(self, device: torch.device, index: int) -> torch.Generator:
        # Derived from the step, not carried along: nothing to save, alike on every rank.
        key = (self.seed * 1_000_003 + self.step_count) * 10_007 + index + 1
        return torch.Generator(device).manual_seed(key % 2**63)

    def _active(self, name: str) -> int:
        """A layer's active weights; counted anew only where somebody else wrote to its mask."""
        seen, count = self._counted[name]
        if seen != _stamp(self.masks[name]):
            count = int(self.masks[name].sum())
            self._remember(name, count)
        return count

    def _remember(self, name: str, count: int) -> None:
        """Take note of a mask just written: its count, and the mask as numbers where it is kept so."""
        if name in self._float_masks:
            self._float_masks[name].copy_(self.masks[name])
        self._counted[name] = (_stamp(self.masks[name]), count)

    def _sync_masks(self) -> None:
        """Move masks to their weights' devices, and recount those that somebody wrote to."""
        for name, weight in self._weights.items():
            count = self._active(name)
            if self.masks[name].device != weight.device:
                self.masks[name] = self.masks[name].to(weight.device)
                if name in self._float_masks:
                    self._float_masks[name] = self._float_masks[name].to(weight.device)
                self._remember(name, count)


def _in_words(strays: Mapping[str, int]) -> str:
    return f"{sum(strays.values()):,} inactive weights, first of {next(iter(strays))}, were not 0"


def _stamp(mask: Tensor) -> tuple[int, int]:
    """Changes whenever a mask is replaced or written to (other than through ``.data``)."""
    return id(mask), mask._version


def _stamps(tensors: Iterable[Tensor]) -> list[tuple[int, int]]:
    return [_stamp(tensor) for tensor in tensors]


def _evaluate_closure(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], bool]:
    """Run a closure given to ``step`` now, since the masks move by the gradients it leaves.

    The optimiser gets one that only returns the loss; args[0] is the optimiser itself.
    """
    closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
    if closure is None:
        return args, kwargs, False
    with torch.enable_grad():
        loss = closure()
    return args[:1], {**kwargs, "closure": lambda: loss}, True


def _overflowed(optimizer: Optimizer) -> bool:
    """Whether a fused optimiser under a gradient scaler is about to skip this step: unlike the others it is
    called all the same, and decides by a flag on the device."""
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(found)
