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
# # Masks and densities
#
# A sparse network keeps only part of its weights. Which ones is said by a *mask*, an array of ones and
# zeros of the weight's own shape that the weight is multiplied by. The **density** of a layer is the share
# of ones in its mask; the sparsity that papers often quote is one minus that. Every method in this book
# starts from a random mask and the question this page answers: a network is to keep a tenth of its
# weights, but how many does each *layer* keep?
#
# Only weights of convolutions and of linear layers are masked. Biases and normalisation layers stay
# whole: they are few, and what they cost is hardly worth counting.

# %% [markdown]
# ## Three ways to share out a density
#
# Write $d$ for the density that the whole network is to have. Layer $l$ has a weight with
# $C_{in}$ input channels, $C_{out}$ output channels and, if it is a convolution, a kernel of $w$ by $h$:
# $N_l$ numbers in all. It gets the density $d_l$.
#
# **Uniform** gives every layer the same:
#
# $$
# d_l = d .
# $$ (eq-uniform)
#
# The first convolution is left out: it stays dense and does not count in the target. It has few
# weights, and everything else in the network depends on what it lets through. A network without convolutions
# leaves no layer out.
#
# **Erdős-Rényi**, ER, comes from random graphs {cite}`mocanu2018scalable`. A layer's density falls with its
# number of channels, so that small layers keep a larger share:
#
# $$
# d_l = \varepsilon \, \frac{C_{in} + C_{out}}{C_{in} \, C_{out}} .
# $$ (eq-er)
#
# **Erdős-Rényi kernel**, ERK, is the same idea with the kernel's size taken in {cite}`evci2020rigging`:
#
# $$
# d_l = \varepsilon \, \frac{C_{in} + C_{out} + w + h}{C_{in} \, C_{out} \, w \, h} .
# $$ (eq-erk)
#
# For a linear layer there is no kernel, and {eq}`eq-erk` is {eq}`eq-er`.

# %% [markdown]
# ## When a layer is full
#
# The factor $\varepsilon$ follows from the total: the active weights of all layers together must be $d$ times
# all weights. Call the fraction in {eq}`eq-er` or {eq}`eq-erk` a layer's *raw* share $r_l$. For a small layer
# $\varepsilon r_l$ can come out above one, which no mask can give. Such a layer becomes dense, and what it
# cannot take is given to the others. With $D$ the set of layers that are dense already,
#
# $$
# \varepsilon = \frac{\sum_{l \notin D} d \, N_l - \sum_{l \in D} (1 - d) \, N_l}
#                    {\sum_{l \notin D} r_l \, N_l} .
# $$ (eq-epsilon)
#
# If now the largest $\varepsilon r_l$ is above one, that layer joins $D$, with any that ties with it, and
# {eq}`eq-epsilon` is solved again. In the end each layer gets exactly $\mathrm{round}(d_l N_l)$ active
# weights, drawn without replacement. Tossing a coin for each weight would be simpler, but then the count
# would drift from one seed to the next.

# %% [markdown]
# ## Why equal densities cost unequal FLOPs
#
# A weight of a linear layer is used once for each sample. A weight of a convolution is used once for each
# *position* of its output, $P_l$ of them. A forward pass therefore costs, with two FLOPs for a multiplication
# and an addition,
#
# $$
# f = \sum_l 2 \, P_l \, d_l \, N_l .
# $$ (eq-flops)
#
# Two masks with equally many active weights differ in cost if one puts them where $P_l$ is large. In a
# residual network the early layers have the fewest channels and the largest images; ER and ERK keep most of
# just those layers. A saving in weights is then not the same saving in FLOPs, and a comparison of
# distributions has to say which of the two is held fixed. The table gives {eq}`eq-flops` relative to the
# dense network's.

# %% tags=["hide-input"]
from IPython.display import HTML

from rigl.project import model_layers
from rigl.report import explorer, tables

layers = model_layers()
costs = explorer.flops_table(explorer.density_table(layers), [0.1, 0.2])
HTML(
    tables.html(costs, "FLOPs of one forward pass, relative to the dense network, by distribution of masks.")
)

# %% [markdown]
# ## Explore
#
# Choose a network, a distribution and a density. Each bar is a layer, from the input on the left to the
# output on the right; point at one to see its name and shape. The sentence above the plot gives the totals,
# and the table below it the same densities as numbers. Arrow keys move the slider.

# %% tags=["hide-input"]
explorer.show(layers)

# %% [markdown]
# Two things to try. Keep ERK and move the density up from the left end: one after the other, layers reach the
# top and stay there, while the others take up what these cannot. Then hold the density and switch between
# uniform and ERK in a network with convolutions: the number of active weights hardly changes, the FLOPs do.
