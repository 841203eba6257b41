"""Sparse training one can trust: masks, update rules, densities, FLOPs and runs of RigL.

Nothing heavy is imported until it is asked for, so that a reader's parts work without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rigl.sparsity.compaction import compact as compact
    from rigl.sparsity.distributions import layer_densities as layer_densities
    from rigl.sparsity.layers import describe as describe
    from rigl.sparsity.sparse_models import load_sparse as load_sparse
    from rigl.sparsity.sparse_models import save_sparse as save_sparse
    from rigl.sparsity.sparse_models import sparse_inference as sparse_inference
    from rigl.sparsity.sparsifier import Sparsifier as Sparsifier
    from rigl.training.config import RunConfig as RunConfig
    from rigl.training.lanes import train_lanes as train_lanes
    from rigl.training.records import Record as Record
    from rigl.training.train import train as train

__version__ = "0.1.0"

_HOMES = {
    "RunConfig": "training.config",
    "Record": "training.records",
    "Sparsifier": "sparsity.sparsifier",
    "compact": "sparsity.compaction",
    "describe": "sparsity.layers",
    "layer_densities": "sparsity.distributions",
    "load_sparse": "sparsity.sparse_models",
    "save_sparse": "sparsity.sparse_models",
    "sparse_inference": "sparsity.sparse_models",
    "train": "training.train",
    "train_lanes": "training.lanes",
}
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rigl' has no attribute {name!r}")
    try:
        return getattr(import_module(f"rigl.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "rigl").partition(".")[0] == "rigl":
            raise
        hint = f'rigl.{name} needs {error.name}: pip install -e ".[train]"'
        raise ImportError(hint, name=error.name) from None
