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
# # A search for alpha and Delta-T
#
# RigL has two knobs of its own: the share of active weights that the first update drops, $\alpha$, and the steps
# from one update to the next, $\Delta T$. The report searches both for each density and distribution: 15 trials of
# a tree-structured Parzen estimator, $\alpha$ in [0.1, 0.6] and $\Delta T$ in 50, 100, ..., 1000, each judged by the
# validation accuracy averaged over three seeds. This notebook runs one such study, with Optuna. Change the cell
# below, or pass the values to papermill:
#
# ```
# papermill notebooks/tune.ipynb OUT.ipynb -p protocol laptop -p density 0.05 -p trials 15 -p seeds 0,1,2
# ```
#
# A trial's runs are records like any other. Finished trials are never repeated; rerun the same command to resume. In a
# shell, `python -m rigl.campaign tune` does the same, for several studies. By default this notebook runs a few trials on
# digits, which take seconds and say nothing about RigL.

# %% tags=["remove-cell"]
from book.report import display, figures, studies
from rigl.campaign import notebook

before = set(globals())

# %% tags=["parameters"]
protocol: str = "smoke"  # paper, tenth, laptop or smoke
dataset: str = None  # in place of the protocol's first
model: str = "lenet-300-100"  # lenet-300-100, resnet-50 or wrn-D-K; None is the protocol's own
method: str = "rigl"  # or another method that uses both alpha and delta_t, such as set or snfs
density: float = 0.2  # active weights over all weights
distribution: str = "erk"  # how layers share the density: uniform, er or erk
epochs: int = 8  # None is the protocol's own
trials: int = 4  # to be complete in all; the report has 15
seeds: str = "0,1"  # of each trial's runs, by commas; the report has 0,1,2
sampler_seed: int = 0  # decides what is tried
storage: str = None  # URL of a database that Optuna knows; None is SQLite in the folder of results
workers: int = 1  # processes, each of which does one trial at a time
time_limit: str = None  # stop cleanly before this, such as 90s, 9m or 1h30m
device: str = "auto"  # auto, cpu, cuda, or several such as cuda:0,cuda:1
results: str = "results"  # folder of the run records, from the project's own folder
tracker: str = None  # tensorboard or wandb: watch the runs live

# %% tags=["remove-input"]
tuning = notebook.configure_tuning(globals(), before)
print(tuning.summary())

# %% tags=["remove-output"]
outcome = tuning.run()

# %% tags=["remove-input"]
print("\n".join(outcome.lines()))
study, frame = outcome.study, tuning.frame()

# %% [markdown]
# ## Trials
#
# In the order in which they began. The first ten are drawn at random, the others from what came before them. If a run
# diverges, its trial has failed, and another takes its place.

# %% tags=["remove-input"]
display.show_table(studies.trials(study), studies.caption(study))

# %% [markdown]
# ## The space
#
# All trials, numbered, and the setting that Evci et al. recommend, $\alpha = 0.3$ and $\Delta T = 100$.

# %% tags=["remove-input"]
figures.show(studies.space(study), studies.seen(study))

# %% [markdown]
# ## The best against the reference
#
# The best of several trials was picked by its validation accuracy, and owes part of it to luck. The test images played
# no part in the search.

# %% tags=["remove-input"]
display.show_table(
    studies.against_reference(study, frame), "Mean ± sample standard deviation over seeds, by the runs named."
)

# %% tags=["remove-input"]
display.show_text(studies.verdict(study, frame))
