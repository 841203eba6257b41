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
# # Structured sparsity
#
# Masks save no time on hardware that multiplies by zero like by anything else. If whole output channels are dropped
# and grown instead (`rigl-struct`), they can be cut out of the network, which is then small and plain. The
# study's supplement {cite}`sundar2021rigging` compares that with a dense network that was narrow from the start
# (`small-dense`).
#
# Each of our numbers is a button that opens the runs behind it: seed, device, commit and a link to the record. Where
# there are no runs yet, it shows the command that makes one.

# %% tags=["remove-cell"]
from book.report import cost, display, pages

before = set(globals())

# %% tags=["parameters", "remove-input"]
protocol: str = "laptop"  # paper, tenth, laptop or smoke: what the page opens with, and what run trains
seeds: str = None  # separated by commas; None shows all there are and trains 0,1,2
run: bool = False  # whether to train the missing runs before showing the page

# %% tags=["remove-cell"]
page = pages.configure(globals(), before, "supplement-table2")
page.train()

# %% tags=["remove-input"]
page.choose()

# %% [markdown]
# ## Table 2 of the supplement
#
# The wall times that it prints for small-dense and RigL-struct are FLOPs of Tables 2 and 3: see
# [Discrepancies](discrepancies).

# %% tags=["remove-input"]
page.table("supplement-table2")

# %% tags=["remove-input"]
page.rank("supplement-table2")

# %% [markdown]
# ## Measured wall times
#
# Networks of these densities with their dead channels cut out by `rigl.compact`, against dense ones:

# %% tags=["remove-input"]
benchmark = cost.first()
display.show_table(
    cost.structured(benchmark),
    f"At density 0.1, against dense, on {cost.name(benchmark)}: wall time of a training step and of inference.",
    cost.origin(benchmark),
)

# %% [markdown]
# ## Verdicts on the claims
#
# By our runs under `laptop` and by the report's printed numbers, both judged as {doc}`claims` explains.
#
# - **Structured RigL is no better than a small dense network.** Here: {glue:text}`../notebooks/claims.py::claim-structured-no-better-laptop:s`. The report's numbers: {glue:text}`../notebooks/claims.py::claim-structured-no-better-report:s`.
