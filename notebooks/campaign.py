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
# # A campaign
#
# This notebook trains whole tables and figures of the report. It lists the runs that they need, those that are done,
# and how long the rest takes on this machine; with `run = True` it trains them. Change the cell below, or pass the
# values to papermill:
#
# ```
# papermill notebooks/campaign.ipynb OUT.ipynb -p tables table2 -p protocol laptop -p run True -p time_limit 9m
# ```
#
# The tables and figures are `table1` to `table5`, `supplement-table2` and `figure1` to `figure5`. A run that several
# of them share is trained once, and a run that another starts from is trained before it. Finished runs are never
# repeated. Rerun the same command to resume. Two campaigns on one folder share the work. In a shell,
# `python -m rigl.campaign` does the same.

# %% tags=["remove-cell"]
from book.report.display import show_table
from rigl.campaign import notebook

before = set(globals())

# %% tags=["parameters"]
tables: str = "table2"  # table1, ..., supplement-table2, figure1, ..., several by commas, or all
protocol: str = "laptop"  # paper, tenth, laptop or smoke
seeds: str = "0,1,2"  # one or several, by commas
densities: str = None  # by commas; None is the report's, or 0.02,0.05,0.1 under laptop
dataset: str = None  # in place of the report's own, or of the protocol's
model: str = None  # lenet-300-100, resnet-50 or wrn-D-K; None is the protocol's own
run: bool = False  # whether to train what is left
time_limit: str = None  # stop cleanly before this, such as 90s, 9m or 1h30m
workers: int = 1  # processes, each of which does one run at a time
device: str = "auto"  # auto, cpu, cuda, or several such as cuda:0,cuda:1
results: str = "results"  # folder of the run records, from the project's own folder

# %% tags=["remove-input"]
campaign = notebook.configure(globals(), before)
print(campaign.summary())

# %% [markdown]
# ## The plan
#
# One row for each row of the tables. FLOPs and time are those of this machine, where masks save none: a sparse step
# takes as long as a dense one.

# %% tags=["remove-input"]
show_table(campaign.plan(), f"Protocol “{protocol}”, seeds {seeds}.")

# %% tags=["remove-output"]
outcome = campaign.train()

# %% [markdown]
# ## Progress

# %% tags=["remove-input"]
if outcome:
    print("\n".join(outcome.lines()))
show_table(campaign.status(), "Runs in each state; one that several tables share counts in each.")
