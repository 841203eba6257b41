"""The catalogue of methods and presets, as data: whatever needs to know a fact about a method reads it here.

No torch: a score is named here and computed in `rigl.sparsity.updates`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, floor
from typing import Any, Literal

# A name of `rigl.sparsity.updates.SCORES`, or a function as those are.
Score = str | Callable[..., Any]


@dataclass(frozen=True)
class Method:
    """One row of the methods table.

    masked           whether weights are masked at all
    drop             the score by which an update drops the smallest active weights
    grow             the score by which it grows as many of the largest; None never moves a mask
    share            the score whose mean over a layer's active weights decides how many of all dropped
                     weights that layer regrows; None leaves every layer its own number
    prunes           updates first drop over all layers at once, down to a density that falls by a schedule
    start            with `prunes`, the density to start from; 1 is a dense network
    drop_global      an update drops the smallest of all layers together instead of a share of each; each
                     layer still regrows by `share`
    channels         whole output channels are dropped and grown, and one that is dropped and grown in the
                     same update keeps its weights; the output layers stay dense
    dense_state      gradients and the optimiser's state are left unmasked
    dense_gradients  the steps whose gradient is needed for inactive weights too
    source           the method of the run whose final masks this one starts from
    pays_source      whether that run's training counts as part of this one's cost
    distributed      whether a density is shared among layers by a distribution
    paper            where it was published, as ``"Evci et al. 2020, arXiv:1911.11134"``
    """

    name: str
    masked: bool = True
    drop: Score = "magnitude"
    grow: Score | None = None
    share: Score | None = None
    prunes: bool = False
    start: float = 1.0
    drop_global: bool = False
    channels: bool = False
    dense_state: bool = False
    dense_gradients: Literal["never", "updates", "always"] = "never"
    source: str | None = None
    pays_source: bool = False
    distributed: bool = True
    paper: str = ""

    @property
    def moves(self) -> bool:
        """Whether masks change while a network trains."""
        return self.grow is not None or self.prunes

    @property
    def scores(self) -> tuple[Score, ...]:
        """All scores that an update asks for."""
        return tuple(score for score in (self.drop, self.grow, self.share) if score is not None)

    @property
    def only_prunes(self) -> bool:
        """Whether weights are dropped for good: gradual pruning, from a dense network."""
        return self.prunes and self.grow is None


_STUDY = "Sundar and Dwaraknath 2021, arXiv:2103.15767"
_RIGL: dict[str, Any] = {"grow": "gradient", "dense_gradients": "updates"}
_SNFS: dict[str, Any] = {"grow": "momentum", "share": "momentum", "dense_gradients": "always"}
_PRUNED: dict[str, Any] = {"dense_state": True, "distributed": False}
METHODS = {
    method.name: method
    for method in (
        Method("dense", masked=False, distributed=False),
        Method("small-dense", masked=False, distributed=False),
        Method("static"),
        Method("set", grow="random", paper="Mocanu et al. 2018, doi:10.1038/s41467-018-04316-3"),
        Method("snfs", **_SNFS, dense_state=True, paper="Dettmers and Zettlemoyer 2019, arXiv:1907.04840"),
        Method("rigl", **_RIGL, paper="Evci et al. 2020, arXiv:1911.11134"),
        Method("rigl-sg", **_RIGL, share="gradient", paper=_STUDY),
        Method("rigl-sm", **_RIGL, share="momentum", paper=_STUDY),
        Method("pruning", **_PRUNED, prunes=True, paper="Zhu and Gupta 2018, arXiv:1710.01878"),
        Method(
            "lottery",
            **_PRUNED,
            source="pruning",
            pays_source=True,
            paper="Frankle and Carbin 2019, arXiv:1803.03635",
        ),
        Method("rigl-reinit", **_RIGL, source="rigl-sm", paper=_STUDY),
        Method("rigl-struct", **_RIGL, channels=True, paper=_STUDY),
        Method("rigl-global", **_RIGL, drop_global=True),
        Method("granet", **_RIGL, prunes=True, start=0.5, paper="Liu et al. 2021, arXiv:2106.10404"),
        Method("mest", drop="magnitude+gradient", grow="random", paper="Yuan et al. 2021, arXiv:2110.14032"),
    )
}


@dataclass(frozen=True)
class Preset:
    """Rules in which published implementations differ.

    rounding         of the number of weights an update drops, drop fraction times active weights
    keeps_regrown    a weight that is dropped and grown in the same update keeps value and momentum;
                     else it starts again from 0
    masks_momentum   the optimiser's state is masked at every step; else it is only set to 0 where a
                     connection is new. Methods with dense state (SNFS, pruning, lottery) do neither
    masks_first_conv the first convolution takes part under ER, ERK and redistribution
    updates_from_0   updates at steps 0, delta_t, 2 delta_t, ... that do not advance the step count;
                     else at delta_t - 1, 2 delta_t - 1, ..., each of them a step. A run of so many optimiser
                     calls then ends that many steps earlier in its schedules
    spares_full      under redistribution, a layer of sparsity below 0.2 whose share exceeds 1 / layers
                     drops no more than its sparsity. (Without redistribution the study's code takes the same
                     share for all layers, so the rule never acts)
    """

    name: str
    rounding: Callable[[float], int]
    keeps_regrown: bool
    masks_momentum: bool
    masks_first_conv: bool
    updates_from_0: bool
    spares_full: bool


PRESETS = {
    preset.name: preset
    for preset in (
        Preset("repro2021", ceil, False, True, True, False, True),
        Preset("google", floor, True, False, False, True, False),
    )
}


def method_named(name: str | Method) -> Method:
    """The method called `name`, or `name` itself where it is one. Raises ValueError, naming all, where there
    is none."""
    if isinstance(name, Method):
        return name
    if name not in METHODS:
        raise ValueError(f"method={name!r} is unknown: choose one of {', '.join(METHODS)}")
    return METHODS[name]


def preset_named(name: str) -> Preset:
    """The preset called `name`; ValueError, naming all, where there is none."""
    if name not in PRESETS:
        raise ValueError(f"preset={name!r} is unknown: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
