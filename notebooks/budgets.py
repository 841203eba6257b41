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
# # A budget of FLOPs
#
# ERK {cite}`evci2020rigging` is made for a number of weights. At the same number it costs more than uniform masks,
# because it keeps small layers full, and those are used at many positions of the image. The study
# {cite}`sundar2021rigging` finds uniform masks ahead at equal FLOPs, and names distributions made for a budget of
# FLOPs as a direction. This page proposes one, `erk-flops`, and says how it does.
#
# ## Where it comes from
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
#
# ## What it does to the layers
#
# Densities of the three distributions at one tenth of the dense network's forward FLOPs:

# %% tags=["remove-input"]
from book.report import budgets, display, figures, runs

figures.show(
    budgets.densities("wrn-10-1 on fashion-mnist", 0.1),
    "Density of each layer of WRN-10-1 at a tenth of the dense forward FLOPs: erk-flops keeps fewer weights than ERK where "
    "the image is large, and more where it is small.",
)

# %% tags=["remove-input"]
display.show_table(
    budgets.weights(0.1),
    "Active weights over all weights that the same forward FLOPs, 0.1 of dense, leave under each distribution.",
)

# %% [markdown]
# ## How it does
#
# RigL, trained under the protocol `laptop` on Fashion-MNIST with each distribution at equal forward FLOPs:

# %% tags=["remove-input"]
found = runs.load()
display.show_table(
    budgets.table(found),
    "Test accuracy at a budget of forward FLOPs: mean ± sample standard deviation over seeds.",
)

# %% tags=["remove-input"]
display.show_text(budgets.verdict(found))
