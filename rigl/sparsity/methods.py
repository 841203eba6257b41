"""Methods and presets as data: any code that needs a fact about a method reads it from here.

A new method is a row of `METHODS` (and one of README's table). If it drops or grows by a new score, that is a
function in `rigl.sparsity.updates.SCORES`, or is given to the row itself. This module needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, floor
from typing import Any, Literal

# A name of `rigl.sparsity.updates.SCORES`, or a function as those are.
Score = str | Callable[..., Any]
# Scores that need neither the gradients nor the optimiser's state of inactive weights.
LOCAL = (None, "magnitude", "random")


@dataclass(frozen=True)
class Method:
    """One row of the methods table.

    masked           whether weights are masked at all
    drop             an update drops the active weights of smallest score
    grow             and grows as many inactive ones of largest score; None grows nothing
    share            the score whose mean over a layer's active weights decides how many of all dropped
                     weights that layer regrows; None: each layer regrows as many as it lost
    prunes           an update first drops the smallest weights of all layers, down to a scheduled density
    start            the density at which such a schedule starts; 1 is a dense network
    drop_global      an update drops the smallest weights of all layers together, not a fraction of each layer
    channels         drop and grow whole output channels; a channel that is dropped and grown in the same
                     update keeps its weights, and output layers stay dense
    dense_state      leave gradients and the optimiser's state unmasked
    source           the method of the run whose final masks this one starts from
    pays_source      count that run's training as part of this one's cost
    distributed      a distribution shares the density among the layers
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
        """All scores that an update computes."""
        return tuple(score for score in (self.drop, self.grow, self.share) if score is not None)

    @property
    def dense_gradients(self) -> Literal["never", "updates", "always"]:
        """The steps that need the gradients of inactive weights too, by what the method grows by. What it
        drops or shares by is read at active weights alone."""
        if self.grow in LOCAL:
            return "never"
        return "always" if self.grow == "momentum" or self.dense_state else "updates"

    def needs_dense_gradients(self, at_update: bool) -> bool:
        """Whether a step needs the gradients of inactive weights too."""
        return self.dense_gradients == "always" or (self.dense_gradients == "updates" and at_update)

    @property
    def only_prunes(self) -> bool:
        """Whether dropped weights never come back, as in gradual pruning."""
        return self.prunes and self.grow is None


_STUDY = "Sundar and Dwaraknath 2021, arXiv:2103.15767"
_PRUNED: dict[str, Any] = {"dense_state": True, "distributed": False}
METHODS = {
    method.name: method
    for method in (
        Method("dense", masked=False, distributed=False),
        Method("small-dense", masked=False, distributed=False),
        Method("static"),
        Method("set", grow="random", paper="Mocanu et al. 2018, doi:10.1038/s41467-018-04316-3"),
        Method(
            "snfs",
            grow="momentum",
            share="momentum",
            dense_state=True,
            paper="Dettmers and Zettlemoyer 2019, arXiv:1907.04840",
        ),
        Method("rigl", grow="gradient", paper="Evci et al. 2020, arXiv:1911.11134"),
        Method("rigl-sg", grow="gradient", share="gradient", paper=_STUDY),
        Method("rigl-sm", grow="gradient", share="momentum", paper=_STUDY),
        Method("pruning", **_PRUNED, prunes=True, paper="Zhu and Gupta 2018, arXiv:1710.01878"),
        Method(
            "lottery",
            **_PRUNED,
            source="pruning",
            pays_source=True,
            paper="Frankle and Carbin 2019, arXiv:1803.03635",
        ),
        Method("rigl-reinit", grow="gradient", source="rigl-sm", paper=_STUDY),
        Method("rigl-struct", grow="gradient", channels=True, paper=_STUDY),
        Method("rigl-global", grow="gradient", drop_global=True),
        Method("granet", grow="gradient", prunes=True, start=0.5, paper="Liu et al. 2021, arXiv:2106.10404"),
        Method("mest", drop="magnitude+gradient", grow="random", paper="Yuan et al. 2021, arXiv:2110.14032"),
    )
}


@dataclass(frozen=True)
class Preset:
    """Rules on which published implementations differ.

    rounding          how the number of weights to drop, drop fraction times active weights, is rounded
    keeps_regrown     a weight that is dropped and grown in the same update keeps its value and momentum;
                      otherwise it restarts from 0
    masks_momentum    mask the optimiser's state at every step; otherwise only zero it for new connections.
                      Methods with dense state (SNFS, pruning, lottery) do neither
    masks_first_conv  mask the first convolution under ER, ERK and redistribution
    updates_from_0    update at steps 0, delta_t, 2 delta_t, ... without advancing the step count; otherwise
                      at delta_t - 1, 2 delta_t - 1, ..., each counted as a step. With the same number of
                      optimiser calls, the schedules then end as many steps earlier as there are updates
    spares_full       under redistribution, a layer of sparsity below 0.2 whose share exceeds 1 / layers drops
                      no more than its sparsity. (Without redistribution the study's code uses the same share
                      for all layers, so the rule never applies)
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
        Preset(
            "repro2021",
            rounding=ceil,
            keeps_regrown=False,
            masks_momentum=True,
            masks_first_conv=True,
            updates_from_0=False,
            spares_full=True,
        ),
        Preset(
            "google",
            rounding=floor,
            keeps_regrown=True,
            masks_momentum=False,
            masks_first_conv=False,
            updates_from_0=True,
            spares_full=False,
        ),
    )
}


def method_named(name: str | Method) -> Method:
    """The method called `name`, or `name` itself if it is a `Method`. Raises ValueError, listing all names,
    for an unknown one."""
    if isinstance(name, Method):
        return name
    if name not in METHODS:
        raise ValueError(f"method={name!r} is unknown: choose one of {', '.join(METHODS)}")
    return METHODS[name]


def preset_named(name: str) -> Preset:
    """The preset called `name`. Raises ValueError, listing all names, for an unknown one."""
    if name not in PRESETS:
        raise ValueError(f"preset={name!r} is unknown: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
