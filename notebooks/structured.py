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
# Masks save no time without kernels that skip zeros. If whole output channels are dropped and grown instead (RigL-struct),
# they can be cut out of the network, which is then small and plain. The report's supplement {cite}`sundar2021rigging`
# compares that with a dense network that was narrow from the start (small-dense).
#
# ## In short
#
# - **Structured RigL gains nothing:** {glue:text}`../notebooks/verdicts.py::claim-structured-no-better:s`.
# - **RigL beats a small dense network:** {glue:text}`../notebooks/verdicts.py::claim-rigl-beats-small-dense:s`.

# %% tags=["remove-cell"]
from book.report import pages

before = set(globals())

# %% tags=["parameters", "remove-cell"]
protocol: str = "laptop"  # paper, tenth, laptop or smoke: what the page opens with, and what run trains
seeds: str = None  # separated by commas; None shows all there are and trains 0,1,2
run: bool = False  # whether to train the missing runs before showing the page

# %% tags=["hide-input"]
page = pages.configure(globals(), before, "supplement-table2")
page.train()
page.choose()

# %% [markdown]
# ## Accuracy
#
# Table 2 of the supplement. The wall times that it prints for small-dense and RigL-struct are FLOPs of Tables 2 and 3: see
# [Discrepancies](discrepancies).

# %% tags=["hide-input"]
page.table("supplement-table2")

# %% [markdown]
# ## Do they rank alike?

# %% tags=["hide-input"]
page.rank("supplement-table2")

# %% [markdown]
# ## Wall time
#
# What a network without its dead channels saves is measured on the page about {doc}`cost <cost>`.
