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
# # Fashion-MNIST
#
# The report's experiments redone small enough for two CPU cores: a fully connected LeNet-300-100, and a WRN-10-1 on images
# mean-pooled to 14 x 14. Both train for 20 epochs, with all schedules shortened alike.
#
# These are not the report's networks or data, so compare no accuracy with one of the report's. Compare order and distance:
# which method is ahead of which at one density, and how far each stays below the dense network. In LeNet-300-100 every
# weight costs the same, so uniform and ERK masks cost alike; where FLOPs and weights part ways, look at WRN-10-1. A
# small-dense LeNet-300-100 keeps far more weights than its density says: compare it with the others by FLOPs.
#
# ## In short
#
# - **RigL against SET:** {glue:text}`../notebooks/verdicts.py::claim-rigl-beats-set:s`.
# - **RigL against a fixed mask:** {glue:text}`../notebooks/verdicts.py::claim-rigl-beats-static:s`.
# - **RigL against a small dense network:** {glue:text}`../notebooks/verdicts.py::claim-rigl-beats-small-dense:s`.
# - **RigL 2x (ERK) matches pruning:** {glue:text}`../notebooks/verdicts.py::claim-matches-pruning:s`.

# %% tags=["remove-cell"]
from book.report import accuracy_explorer, pages

before = set(globals())

# %% tags=["parameters", "remove-cell"]
protocol: str = "laptop"  # laptop: what the page opens with, and what run trains
seeds: str = None  # separated by commas; None shows all there are and trains 0,1,2
run: bool = False  # whether to train the missing runs before showing the page

# %% tags=["hide-input"]
page = pages.configure(globals(), before, "table2", datasets=("fashion-mnist",))
page.train()
page.choose()

# %% [markdown]
# ## All methods
#
# The settings of the report's Table 2. Redistribution and structured sparsity have pages of their own: {doc}`redistribution`
# and {doc}`structured`.

# %% tags=["hide-input"]
page.table("table2")

# %% [markdown]
# ## Do they rank alike?
#
# At density 0.1, which both have:

# %% tags=["hide-input"]
page.rank("table2")

# %% [markdown]
# ## Accuracy against density

# %% tags=["hide-input"]
accuracy_explorer.show(page.every, "density")
