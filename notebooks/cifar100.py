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
# Table 3 and Figure 2 of the study {cite}`sundar2021rigging`: a ResNet-50 for images of 32 x 32 on CIFAR-100. `paper` is its
# own protocol, `tenth` the same in a tenth of the epochs; both need a GPU. `laptop` is a WRN-10-2 on images mean-pooled
# to 16 x 16 for 20 epochs, on one processor core, with this data set's own schedule and label smoothing.
#
# Each of our numbers is a button that opens the runs behind it: seed, device, commit and a link to the record. Where
# there are no runs yet, it shows the command that makes one.

# %% tags=["remove-cell"]
from book.report import figures, pages

before = set(globals())

# %% tags=["parameters", "remove-input"]
protocol: str = "paper"  # paper, tenth or laptop: what the page opens with, and what run trains
seeds: str = None  # separated by commas; None shows all there are and trains 0,1,2
run: bool = False  # whether to train the missing runs before showing the page

# %% tags=["remove-cell"]
page = pages.configure(globals(), before, "table3 figure2", datasets=("cifar100",))
page.train()

# %% tags=["remove-input"]
page.choose()

# %% [markdown]
# ## Table 3

# %% tags=["remove-input"]
page.table("table3")

# %% tags=["remove-input"]
page.rank("table3")

# %% [markdown]
# ## Figure 2

# %% tags=["remove-input"]
page.show(figures.by_density)
