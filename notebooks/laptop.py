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
# # On a laptop
#
# The study's experiments redone small, on Fashion-MNIST: a fully connected LeNet-300-100, and a WRN-10-1 on images
# mean-pooled to 14 x 14. Both are trained for 20 epochs, with all schedules shortened alike. Anybody can repeat
# this part of the evidence without a GPU; the runs behind a number say how long they took.
#
# ```bash
# python -m rigl.campaign run table2 --protocol laptop --workers 2
# ```
#
# These are not the study's networks or data, so compare no accuracy here with one of the report's. Compare
# order and distance instead: which method is ahead of which at one density, and how far each stays below the dense
# network. LeNet-300-100 has no convolution, so a weight costs the same everywhere, and uniform and ERK masks cost
# alike; where FLOPs and weights part ways, the WRN-10-1 is what to look at.
#
# `small-dense` makes layers narrower by the square root of the density. Without convolutions that leaves far more
# weights than the density says, so compare it with the others by its FLOPs.
#
# Each of our numbers is a button that opens the runs behind it: seed, device, commit and a link to the record. Where
# there are no runs yet, it shows the command that makes one.

# %% tags=["remove-cell"]
from book.report import figures, pages

before = set(globals())

# %% tags=["parameters", "remove-input"]
protocol: str = "laptop"  # laptop: what the page opens with, and what run trains
seeds: str = None  # separated by commas; None shows all there are and trains 0,1,2
run: bool = False  # whether to train the missing runs before showing the page

# %% tags=["remove-cell"]
page = pages.configure(globals(), before, "table2 table5 supplement-table2", datasets=("fashion-mnist",))
page.train()

# %% tags=["remove-input"]
page.choose()

# %% [markdown]
# ## All methods
#
# Table 2 of the study in this form, with its figures for CIFAR-10.

# %% tags=["remove-input"]
page.table("table2")

# %% [markdown]
# ## Do they rank alike?
#
# At density 0.1, the one that both have:

# %% tags=["remove-input"]
page.rank("table2")

# %% [markdown]
# ## Accuracy against density

# %% tags=["remove-input"]
page.show(figures.by_density)

# %% [markdown]
# ## Redistribution and structure
#
# The settings of Table 5 and of the supplement's Table 2; see [](redistribution) and [](structured).

# %% tags=["remove-input"]
page.table("table5")

# %% tags=["remove-input"]
page.table("supplement-table2")

# %% [markdown]
# ## Verdicts on the claims
#
# By our runs under `laptop` and by the report's printed numbers, both judged as {doc}`claims` explains.
#
# - **RigL beats SET.** Here: {glue:text}`../notebooks/claims.py::claim-rigl-beats-set-laptop:s`. The report's numbers: {glue:text}`../notebooks/claims.py::claim-rigl-beats-set-report:s`.
# - **RigL beats a fixed mask.** Here: {glue:text}`../notebooks/claims.py::claim-rigl-beats-static-laptop:s`. The report's numbers: {glue:text}`../notebooks/claims.py::claim-rigl-beats-static-report:s`.
# - **Trained twice as long, RigL with ERK reaches pruning.** Here: {glue:text}`../notebooks/claims.py::claim-rigl-2x-erk-reaches-pruning-laptop:s`. The report's numbers: {glue:text}`../notebooks/claims.py::claim-rigl-2x-erk-reaches-pruning-report:s`.
# - **SET is unstable when sparse and trained for long.** Here: {glue:text}`../notebooks/claims.py::claim-set-unstable-laptop:s`. The report's numbers: {glue:text}`../notebooks/claims.py::claim-set-unstable-report:s`.
# - **SNFS is better than RigL.** Here: {glue:text}`../notebooks/claims.py::claim-snfs-better-laptop:s`. The report's numbers: {glue:text}`../notebooks/claims.py::claim-snfs-better-report:s`.
# - **SNFS costs more.** Here: {glue:text}`../notebooks/claims.py::claim-snfs-costs-laptop:s`. The report's numbers: {glue:text}`../notebooks/claims.py::claim-snfs-costs-report:s`.
