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
# # Redistribution
#
# RigL never moves weights from one layer to another. SNFS {cite}`dettmers2019sparse` does: at each update, what was dropped
# anywhere is shared out among layers by the mean size of their momentum. The report {cite}`sundar2021rigging` adds that to RigL in
# two ways, by the gradients of active weights (RigL-SG) and by their momentum (RigL-SM), and trains again from the masks that
# the latter found.
#
# ## In short
#
# - **It lifts uniform masks:** {glue:text}`../notebooks/verdicts.py::claim-redistribution-lifts-uniform:s`.
# - **It is at most 0.5 points behind ERK:** {glue:text}`../notebooks/verdicts.py::claim-redistribution-reaches-erk:s`.
# - **It does not help ERK:** {glue:text}`../notebooks/verdicts.py::claim-redistribution-no-help-to-erk:s`.
# - **It costs more:** {glue:text}`../notebooks/verdicts.py::claim-redistribution-costs:s`.
# - **Weights settle early:** {glue:text}`../notebooks/verdicts.py::claim-weights-settle:s`.
# - **Every layer settles early:** {glue:text}`../notebooks/verdicts.py::claim-layers-settle:s`.
# - **Restarting from the masks found hurts:** {glue:text}`../notebooks/verdicts.py::claim-reinit-hurts:s`.

# %% tags=["remove-cell"]
from book.report import pages, redistribution_player

before = set(globals())

# %% tags=["parameters", "remove-cell"]
protocol: str = "laptop"  # paper, tenth, laptop or smoke: what the page opens with, and what run trains
seeds: str = None  # separated by commas; None shows all there are and trains 0,1,2
run: bool = False  # whether to train the missing runs before showing the page

# %% tags=["hide-input"]
page = pages.configure(globals(), before, "table5 figure5")
page.train()
page.choose()

# %% [markdown]
# ## Accuracy and cost
#
# Table 5.

# %% tags=["hide-input"]
page.table("table5")

# %% [markdown]
# ## Do they rank alike?

# %% tags=["hide-input"]
page.rank("table5")

# %% [markdown]
# ## Where weights go
#
# Figure 5: choose a run and move through its training. The wide pale line is where its layers end.

# %% tags=["hide-input"]
redistribution_player.show(page.every)
