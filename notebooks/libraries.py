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
# # Beside other libraries
#
# Which library should train your sparse network? This page puts our {doc}`Sparsifier <../book/own-loop>` beside six
# others, question by question, as a buyer's guide does. Nobody's word is taken for it, ours least of all: each answer
# of ours opens the tests that show it, and each answer of theirs leads to the file that it was read in.

# %% tags=["hide-input"]
from book.report import libraries

libraries.show()

# %% [markdown]
# The others are

# %% tags=["hide-input"]
libraries.show_libraries()

# %% [markdown]
# What follows from the table: for JAX, take jaxpruner; on Cerebras's machines, cstorch.sparse; to make a trained network
# 2:4 sparse for NVIDIA's hardware, ModelOpt; for constant fan-in, sparsimony. Where counts, resuming or the optimiser's
# state have to be right in plain PyTorch, take ours. A mask by itself makes nothing faster, here or there.
#
# Is something wrong or out of date here? All cells stand in `results/libraries.json`, a row a question, and a test
# checks that every test named exists.

# %% tags=["hide-input"]
libraries.show_sources()
