"""Sparse training one can trust: masks, update rules, densities, FLOPs and runs of RigL.

Nothing heavy is imported until it is asked for, so that a reader's parts work without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rigl.compaction import compact as compact
    from rigl.config import RunConfig as RunConfig
    from rigl.distributions import layer_densities as layer_densities
    from rigl.lanes import train_lanes as train_lanes
    from rigl.layers import describe as describe
    from rigl.records import Record as Record
    from rigl.sparsifier import Sparsifier as Sparsifier
    from rigl.training import train as train

__version__ = "0.1.0"

_HOMES = {
    "RunConfig": "config",
    "Record": "records",
    "Sparsifier": "sparsifier",
    "compact": "compaction",
    "describe": "layers",
    "layer_densities": "distributions",
    "train": "training",
    "train_lanes": "lanes",
}
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rigl' has no attribute {name!r}")
    return getattr(import_module(f"rigl.{_HOMES[name]}"), name)
