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
# # All methods
#
# Each method is one row of a table, and this page is that table: adding a method adds a line here, a choice to every notebook
# and a name for `rigl.Sparsifier`. Most are in the report. GraNet {cite}`liu2021granet` and MEST {cite}`yuan2021mest` came
# after it; global RigL is RigL with one drop over all layers in place of one a layer.

# %% tags=["hide-input"]
from book.report import catalogue

catalogue.show()

# %% [markdown]
# ## One of your own
#
# A method is what it drops by, what it grows by and, if it redistributes, what layers share by: a score's name, or a function
# of a weight, the optimizer's state and a random generator. This one grows where gradient and momentum together are largest:
#
# ```python
# from rigl import Sparsifier
# from rigl.sparsity.methods import Method
#
# def agreed(weight, state, generator):
#     momentum = state.get("momentum_buffer")
#     return weight.grad.abs() if momentum is None else (weight.grad + momentum).abs()
#
# mine = Method("mine", grow=agreed, dense_gradients="updates")
# sparsifier = Sparsifier(model, optimizer, method=mine, density=0.1, total_steps=10_000)
# ```
#
# `dataclasses.replace` changes a row: `replace(METHODS["granet"], start=0.8)` is GraNet that starts from a density of 0.8.
# The drop fraction falls by `decay="cosine"`, `"linear"`, `"constant"` or `"inverse-power"`, and
# `on_update=lambda step, moved: ...` is called after each update with the numbers of weights that each layer dropped and grew.
