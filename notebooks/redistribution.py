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
# RigL never moves weights from one layer to another. SNFS {cite}`dettmers2019sparse` does: at each update, what was
# dropped anywhere is shared out among layers by the mean size of their momentum. The study {cite}`sundar2021rigging` adds
# that to RigL in two ways, by the gradients of active weights (`rigl-sg`) and by their momentum (`rigl-sm`), and trains again
# from the masks that the latter found (`rigl-reinit`).
#
# Each of our numbers is a button that opens the runs behind it: seed, device, commit and a link to the record. Where
# there are no runs yet, it shows the command that makes one.

# %% tags=["remove-cell"]
from book.report import figures, pages

before = set(globals())

# %% tags=["parameters", "remove-input"]
protocol: str = "laptop"  # paper, tenth, laptop or smoke: what the page opens with, and what run trains
seeds: str = None  # separated by commas; None shows all there are and trains 0,1,2
run: bool = False  # whether to train the missing runs before showing the page

# %% tags=["remove-cell"]
page = pages.configure(globals(), before, "table5 figure5")
page.train()

# %% tags=["remove-input"]
page.choose()

# %% [markdown]
# ## Table 5

# %% tags=["remove-input"]
page.table("table5")

# %% tags=["remove-input"]
page.rank("table5")

# %% [markdown]
# ## Cost and layers
#
# Figure 5 of the study: what moving weights does to the cost of a step, and where the layers end.

# %% tags=["remove-input"]
page.show(figures.redistribution)

# %% [markdown]
# ## Verdicts on the claims
#
# By our runs under `laptop` and by the report's printed numbers, both judged as {doc}`claims` explains.
#
# - **Redistribution lifts RigL from uniform masks.** Here: {glue:text}`../notebooks/claims.py::claim-redistribution-lifts-uniform-laptop:s`. The report's numbers: {glue:text}`../notebooks/claims.py::claim-redistribution-lifts-uniform-report:s`.
# - **It reaches RigL with ERK.** Here: {glue:text}`../notebooks/claims.py::claim-redistribution-reaches-erk-laptop:s`. The report's numbers: {glue:text}`../notebooks/claims.py::claim-redistribution-reaches-erk-report:s`.
# - **It does not help ERK.** Here: {glue:text}`../notebooks/claims.py::claim-redistribution-no-help-to-erk-laptop:s`. The report's numbers: {glue:text}`../notebooks/claims.py::claim-redistribution-no-help-to-erk-report:s`.
# - **It costs FLOPs.** Here: {glue:text}`../notebooks/claims.py::claim-redistribution-costs-laptop:s`. The report's numbers: {glue:text}`../notebooks/claims.py::claim-redistribution-costs-report:s`.
# - **Densities settle early.** Here: {glue:text}`../notebooks/claims.py::claim-densities-settle-laptop:s`. The report's numbers: {glue:text}`../notebooks/claims.py::claim-densities-settle-report:s`.
# - **They end beyond ERK.** Here: {glue:text}`../notebooks/claims.py::claim-densities-more-extreme-laptop:s`. The report's numbers: {glue:text}`../notebooks/claims.py::claim-densities-more-extreme-report:s`.
# - **Restarting from the masks found is worse.** Here: {glue:text}`../notebooks/claims.py::claim-reinit-hurts-laptop:s`. The report's numbers: {glue:text}`../notebooks/claims.py::claim-reinit-hurts-report:s`.
