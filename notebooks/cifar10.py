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
# # CIFAR-10
#
# Tables 1 and 2 and Figure 1 of the report {cite}`sundar2021rigging`: a WRN-22-2 on CIFAR-10 by every method, at densities
# from 0.05 to 0.5. `paper` is the report's own protocol and `tenth` the same network for a tenth of the epochs; both need a
# GPU. `laptop` is a WRN-10-2 on images mean-pooled to 16 x 16 for 20 epochs, with one CPU core per run.
#
# ## In short
#
# - **RigL against SET:** {glue:text}`../notebooks/verdicts.py::claim-rigl-beats-set-cifar10:s`.
# - **RigL against a fixed mask:** {glue:text}`../notebooks/verdicts.py::claim-rigl-beats-static-cifar10:s`.
# - **RigL 2x (ERK) exceeds pruning:** {glue:text}`../notebooks/verdicts.py::claim-exceeds-pruning-cifar10:s`.
# - **SET can collapse:** {glue:text}`../notebooks/verdicts.py::claim-set-unstable-cifar10:s`.

# %% tags=["remove-cell"]
from book.report import accuracy_explorer, pages

before = set(globals())

# %% tags=["parameters", "remove-cell"]
protocol: str = "laptop"  # paper, tenth, laptop or smoke: what the page opens with, and what run trains
seeds: str = None  # separated by commas; None shows all there are and trains 0,1,2
run: bool = False  # whether to train the missing runs before showing the page

# %% tags=["hide-input"]
page = pages.configure(globals(), before, "table1 table2 figure1", datasets=("cifar10",))
page.train()
page.choose()

# %% [markdown]
# ## All methods
#
# Table 2. The report groups its rows by what they cost. Training FLOPs are relative to training the dense network once.

# %% tags=["hide-input"]
page.table("table2")

# %% [markdown]
# ## Do they rank alike?

# %% tags=["hide-input"]
page.rank("table2")

# %% [markdown]
# ## Accuracy against density
#
# Figure 1. The report prints the numbers behind two of the densities only, in Table 2.

# %% tags=["hide-input"]
accuracy_explorer.show(page.every, "density")

# %% [markdown]
# ## Against the original code
#
# Table 1: trained on all 50,000 images, with nothing held out, as the paper {cite}`evci2020rigging` trains.

# %% tags=["hide-input"]
page.table("table1")
