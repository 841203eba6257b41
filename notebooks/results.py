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
# # Results so far
#
# Every figure on this page is computed from the run records under `results/` when the book is built. A
# **protocol** says how long and on what a run trains; runs of different protocols are never put into one
# table. Only the protocol `paper` is the reproduction study's own {cite}`sundar2021rigging`. The others are
# shorter: good for seeing methods differ, not for checking the study's numbers.
#
# A table has a row for each setting and gives mean and sample standard deviation over seeds. FLOPs are
# relative to training, and to one forward pass, of the dense network for the protocol's own length. In the
# plots every marker is a run that says its name when pointed at, and a line joins a method's means. Methods
# that move weights between layers or prune them change their cost while they train: the second plot shows it.
# An accuracy in a table is a button that opens the runs behind it: record, seed, accuracy, time, device,
# commit. A commit marked "changed" means that the code had been edited since.

# %% tags=["hide-input"]
from book.report import results, runs

frame = runs.load()

# %% [markdown]
# ## Protocol `paper`
#
# The study's own settings on CIFAR-10 and CIFAR-100; needs a GPU.

# %% tags=["hide-input"]
results.show(frame, "paper")

# %% [markdown]
# ## Protocol `tenth`
#
# The same networks and data in a tenth of the epochs, with schedules shortened alike; also for a GPU.

# %% tags=["hide-input"]
results.show(frame, "tenth")

# %% [markdown]
# ## Protocol `laptop`
#
# Small networks, or few epochs, for two processor cores and no GPU.

# %% tags=["hide-input"]
results.show(frame, "laptop")

# %% [markdown]
# ## Protocol `smoke`
#
# scikit-learn's handwritten digits, eight by eight pixels, which come with the library: for a first try with
# no download. With so few images the differences between methods mean little.

# %% tags=["hide-input"]
results.show(frame, "smoke")
