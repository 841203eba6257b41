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
# # in a clone of the repository; it needs torch and numpy, nothing else
# pip install .
# ```
#
# Then one line makes your own training loop sparse:
#
# ```python
# from rigl import Sparsifier
#
# sparsifier = Sparsifier(
#     model,
#     optimizer,
#     method="rigl",
#     density=0.1,
#     distribution="erk",
#     total_steps=len(loader) * epochs,
# )
# for x, y in loader:  # the loop itself stays as it was
#     optimizer.zero_grad()
#     loss_fn(model(x), y).backward()
#     optimizer.step()
# ```
#
# It uses the optimiser's step hooks, so it works with any model and any optimiser that takes one gradient per step.
# {doc}`../book/own-loop` has complete examples for a plain loop, DDP, PyTorch Lightning, the Hugging Face Trainer and
# accelerate, and lists what is refused. {doc}`libraries` compares it with six other libraries.
#
# ## Which method should I use?
#
# Each claim has two badges: first what the report's numbers say, then what our runs say.

# %% tags=["hide-input"]
from book.report import display, story, verdicts

display.show(story.advice(verdicts.load()))

# %% [markdown]
# By default a masked weight takes as much time and memory as any other. {doc}`cost` shows what saves time today: whole
# channels, and on a CPU `execution="auto"` for large linear layers.
#
# ## More
#
# - {doc}`../book/run`: repeat any run of this book, on a laptop, on a GPU, or in the cloud.
# - {doc}`cluster`: hundreds of runs on several GPUs, under Dask or Slurm.
# - {doc}`../book/api`: the public functions and classes.
