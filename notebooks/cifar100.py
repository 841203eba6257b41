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
# # CIFAR-100
#
# Table 3 and Figure 2 of the report {cite}`sundar2021rigging`: a ResNet-50 for images of 32 x 32 on CIFAR-100. `paper` is the
# report's own protocol and `tenth` the same in a tenth of the epochs; both need a GPU. `laptop` is a WRN-10-2 on images
# mean-pooled to 16 x 16 for 20 epochs, one CPU core per run, with this data set's own schedule and label smoothing.
#
# ## In short
#
# - **RigL against SET:** {glue:text}`../notebooks/verdicts.py::claim-rigl-beats-set-cifar100:s`.
# - **RigL trained longer exceeds pruning:** {glue:text}`../notebooks/verdicts.py::claim-longer-exceeds-pruning-cifar100:s`.
# - **Lottery tickets match pruning:** {glue:text}`../notebooks/verdicts.py::claim-tickets-match-pruning-cifar100:s`.
# - **Masks matter more than the method:** {glue:text}`../notebooks/verdicts.py::claim-masks-over-method-cifar100:s`.

# %% tags=["remove-cell"]
from book.report import accuracy_explorer, pages

before = set(globals())

# %% tags=["parameters", "remove-cell"]
protocol: str = "laptop"  # paper, tenth or laptop: what the page opens with, and what run trains
seeds: str = None  # separated by commas; None shows all there are and trains 0,1,2
run: bool = False  # whether to train the missing runs before showing the page

# %% tags=["hide-input"]
page = pages.configure(globals(), before, "table3 figure2", datasets=("cifar100",))
page.train()
page.choose()

# %% [markdown]
# ## All methods
#
# Table 3.

# %% tags=["hide-input"]
page.table("table3")

# %% [markdown]
# ## Do they rank alike?

# %% tags=["hide-input"]
page.rank("table3")

# %% [markdown]
# ## Accuracy against density
#
# Figure 2.

# %% tags=["hide-input"]
accuracy_explorer.show(page.every, "density")
