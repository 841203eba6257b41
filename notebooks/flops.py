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
# # Accuracy against FLOPs
#
# With equally many weights, ERK masks cost more FLOPs than uniform ones, because they keep the small early layers dense,
# whose weights are used at many positions (see {eq}`eq-flops`). Which distribution is better may therefore depend on what is scarce.
# The report {cite}`sundar2021rigging` finds ERK ahead at equal numbers of weights, and uniform masks ahead at equal cost.
#
# ## In short
#
# - **ERK beats uniform at equal weights:** {glue:text}`../notebooks/verdicts.py::claim-erk-at-equal-parameters:s`.
# - **Uniform beats ERK at equal FLOPs:** {glue:text}`../notebooks/verdicts.py::claim-uniform-at-equal-flops:s`.
# - **Masks matter more than the method:** {glue:text}`../notebooks/verdicts.py::claim-masks-over-method:s`.

# %% tags=["remove-cell"]
from book.report import accuracy_explorer, budgets, display, figures, pages

before = set(globals())

# %% tags=["parameters", "remove-cell"]
protocol: str = "laptop"  # paper, tenth, laptop or smoke: what the page opens with, and what run trains
seeds: str = None  # separated by commas; None shows all there are and trains 0,1,2
run: bool = False  # whether to train the missing runs before showing the page

# %% tags=["hide-input"]
page = pages.configure(globals(), before, "figure4")
page.train()
page.choose()

# %% [markdown]
# ## Every method
#
# Figure 4 of the report, for all methods. The Pareto front joins the settings that no other beats for the same training FLOPs or
# less.

# %% tags=["hide-input"]
accuracy_explorer.show(page.every, "train_flops")

# %% [markdown]
# ## Equal budgets
#
# RigL with uniform masks at a density, and with ERK masks at a budget of FLOPs of the same number. Uniform masks cost a little
# more than that, since the first convolution stays dense; the verdict rests on runs of both at exactly equal FLOPs, which
# {ref}`follow <equal-flops>`. The report prints no numbers for this figure.

# %% tags=["hide-input"]
page.table("figure4")

# %% [markdown]
# ## Masks made for a budget of FLOPs
#
# ERK {cite}`evci2020rigging` is made for a number of weights. The report names distributions made for a budget of FLOPs as a
# direction. This book proposes one, `erk-flops`.
#
# ### Where it comes from
#
# Let layer $l$ have $a_l$ active weights, dimensions that sum to $s_l$ (for a convolution $C_\text{in} +
# C_\text{out} + w + h$), and let one image use each of its weights at $p_l$ positions. ERK's $a_l \propto s_l$ is
# what maximises
#
# $$\sum_l s_l \log a_l \quad\text{where}\quad \sum_l a_l = K,$$ (eq-erk-aim)
#
# as a Lagrange multiplier shows: every unit gets about as many connections as any other, and one more connection
# is worth less the more there are. With the same aim under a budget of FLOPs, $\sum_l p_l a_l = F$, the answer is
# $a_l \propto s_l / p_l$, so that the density is
#
# $$d_l \propto \frac{s_l}{n_l\, p_l}$$ (eq-erk-flops)
#
# for a layer of $n_l$ weights: layers share FLOPs, instead of weights, by their number of units. Layers that would
# need more than all their weights become dense, and the others are solved again, as under ERK.

# %% [markdown]
# ### What it does to the layers
#
# Densities of the three distributions at one tenth of the dense network's forward FLOPs:

# %% tags=["hide-input"]
figures.show(*budgets.densities("wrn-10-1 on fashion-mnist", 0.1))

# %% tags=["hide-input"]
display.show_table(
    budgets.weights(0.1),
    "Active weights over all weights that the same forward FLOPs, 0.1 of dense, leave under each distribution.",
)

# %% [markdown]
# (equal-flops)=
# ### How it does
#
# RigL under the protocol `laptop` on Fashion-MNIST, with each distribution at equal forward FLOPs:

# %% tags=["hide-input"]
display.show_table(
    budgets.table(page.frame),
    "Test accuracy at a budget of forward FLOPs: mean ± sample standard deviation over seeds.",
)
display.show_text(budgets.verdict(page.frame))
