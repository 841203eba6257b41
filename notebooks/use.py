# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Use it
#
# ```bash
# pip install .    # in a clone of the repository: torch and numpy, nothing else
# ```
#
# Then one line makes your own training loop sparse:
#
# ```python
# from rigl import Sparsifier
#
# sparsifier = Sparsifier(
#     model, optimizer, method="rigl", density=0.1, distribution="erk", total_steps=len(loader) * epochs
# )
# for x, y in loader:  # the loop itself stays as it was
#     optimizer.zero_grad()
#     loss_fn(model(x), y).backward()
#     optimizer.step()
# ```
#
# It uses the optimiser's step hooks, so it works with any model and any optimiser that takes one gradient per step.
# {doc}`../book/own-loop` has complete examples for a plain loop, DDP and PyTorch Lightning.
#
# ## Which method should I use?
#
# By the verdicts of this book, the report's numbers first and our runs second:

# %% tags=["hide-input"]
from book.report import story, verdicts

story.show_advice(verdicts.load())

# %% [markdown]
# Unless told otherwise, a masked weight takes as long as any other: {doc}`cost` says what saves time today.
#
# ## More
#
# - {doc}`../book/run`: repeat any run of this book, on a laptop, a GPU or in the browser of somebody else's computer.
# - {doc}`cluster`: hundreds of runs on several GPUs, under Dask or Slurm.
# - {doc}`../book/api`: every function that other programs may rely on.
