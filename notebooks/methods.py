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
# These methods come with the package; pass a name as `method=` to `rigl.Sparsifier`, to a notebook or to `rigl.train`. Most are
# in the report. GraNet {cite}`liu2021granet` and MEST {cite}`yuan2021mest` came after it. Global RigL drops the smallest
# weights of all layers together; each layer regrows as many as it lost.

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
# mine = Method("mine", grow=agreed)
# sparsifier = Sparsifier(model, optimizer, method=mine, density=0.1, total_steps=10_000)
# ```
#
# `dataclasses.replace` changes a row: `replace(METHODS["granet"], start=0.8)` is GraNet that starts from a density of 0.8.
# The drop fraction falls by `decay="cosine"`, `"linear"`, `"constant"` or `"inverse-power"`, and
# `on_update=lambda step, moved: ...` is called after each update with the numbers of weights that each layer dropped and grew.
