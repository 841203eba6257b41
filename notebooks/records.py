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
# # Every run
#
# Each row is one training run. Filter, search, or click a header to sort. A record names the code, settings, seed and device
# of its run. FLOPs are relative to training the dense network for the protocol's own length.

# %% tags=["hide-input"]
from book.report import display, results, runs

frame = runs.load(searched=True)
display.show(results.html(frame))

# %% [markdown]
# Each record is one JSON file with the loss and accuracy of every epoch, layers' densities over time, FLOPs counted step
# by step, versions and hardware. `rigl.training.records` reads them: {doc}`../book/api` has the fields.
