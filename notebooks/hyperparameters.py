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
# # Hyperparameters
#
# RigL has two knobs of its own: the share of active weights that the first update drops, $\alpha$, and the steps from
# one update to the next, $\Delta T$. Evci et al. {cite}`evci2020rigging` recommend $\alpha = 0.3$ and $\Delta T = 100$;
# the study {cite}`sundar2021rigging` searches both for each density and distribution, by 15 trials of a tree-structured
# Parzen estimator, $\alpha$ in [0.1, 0.6] and $\Delta T$ in 50, 100, ..., 1000, each judged by the validation accuracy
# averaged over three seeds.
#
# Every study in `results/studies` is shown here. `python -m rigl.tuning run` does one, and so does
# `notebooks/tune.ipynb`. The best of several trials owes part of its validation accuracy to luck, since that is what it
# was picked by; it is held against the recommended setting in test accuracy, which played no part in the search.

# %% tags=["remove-input"]
from rigl import records
from rigl.report import results, studies

frame = records.frame(results.folder())
studies.show(results.folder(), frame)
