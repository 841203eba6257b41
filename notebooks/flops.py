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
# # Parameters or FLOPs?
#
# At one number of weights ERK masks cost more FLOPs than uniform ones, since they keep the small early layers full, whose
# weights are used at many positions (see {eq}`eq-flops`). Which distribution is better may therefore depend on what is
# scarce. The study {cite}`sundar2021rigging` finds ERK ahead at equal numbers of weights and, in its Figure 4 of
# accuracy against FLOPs, uniform masks ahead at equal cost. Here the same plot: every marker is a run that says its
# name when pointed at.
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
page = pages.configure(globals(), before, "figure4")
page.train()

# %% tags=["remove-input"]
page.choose()

# %% [markdown]
# ## Equal budgets
#
# RigL with uniform masks at a density, and with ERK masks at a budget of FLOPs of the same number. Uniform masks cost a
# little more than that, since the first convolution stays dense; [A budget of FLOPs](budgets) has runs of both at exactly
# equal FLOPs, and on those the claim below rests. The study prints no numbers for this figure.

# %% tags=["remove-input"]
page.table("figure4")

# %% [markdown]
# ## Accuracy against FLOPs
#
# First RigL alone; then every method, where the grey line is the Pareto front: the settings that no other beats for the same
# training FLOPs or less. [A budget of FLOPs](budgets) asks for a distribution made for such a budget.

# %% tags=["remove-input"]
page.show(figures.at_equal_flops)

# %% [markdown]
# ## Verdicts on the claims
#
# By our runs under `laptop` and by the report's printed numbers, both judged as {doc}`claims` explains.
#
# - **ERK is better at equal numbers of weights.** Here: {glue:text}`../notebooks/claims.py::claim-erk-at-equal-parameters-laptop:s`. The report's numbers: {glue:text}`../notebooks/claims.py::claim-erk-at-equal-parameters-report:s`.
# - **Uniform masks are better at equal FLOPs.** Here: {glue:text}`../notebooks/claims.py::claim-uniform-at-equal-flops-laptop:s`. The report's numbers: {glue:text}`../notebooks/claims.py::claim-uniform-at-equal-flops-report:s`.
