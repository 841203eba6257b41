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
# # Method
#
# A sparse network keeps only part of its weights. A *mask* selects them: an array of ones and zeros, of the
# weight's own shape, by which the weight is multiplied. The **density** of a layer is the share
# of ones in its mask; the sparsity that papers often quote is one minus that. This page goes through what a
# method has to decide: how many weights each layer keeps, which ones an update drops and grows, and how
# many that is as training goes on.
#
# In this book's networks, the weights of convolutions and linear layers are masked. Biases and normalisation layers stay
# whole: they are few, and what they cost is hardly worth counting.

# %% [markdown]
# ## The first mask
#
# Nearly every method in this book starts from a random mask. A network is to keep a tenth of its weights, but how
# many does each *layer* keep? Write $d$ for the density that the whole network is to have. Layer $l$ has a weight with
# $C_\text{in}$ input channels, $C_\text{out}$ output channels and, if it is a convolution, a kernel of $w$ by $h$:
# $n_l$ numbers in all. It gets the density $d_l$.
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
# d_l = \varepsilon \, \frac{C_\text{in} + C_\text{out}}{C_\text{in} \, C_\text{out}} .
# $$ (eq-er)
#
# **Erdős-Rényi kernel**, ERK, is the same idea with the kernel's size taken in {cite}`evci2020rigging`:
#
# $$
# d_l = \varepsilon \, \frac{C_\text{in} + C_\text{out} + w + h}{C_\text{in} \, C_\text{out} \, w \, h} .
# $$ (eq-erk)
#
# For a linear layer there is no kernel, and {eq}`eq-erk` is {eq}`eq-er`.

# %% [markdown]
# ### When a layer is full
#
# The factor $\varepsilon$ follows from the total: the active weights of all layers together must be $d$ times
# all weights. Call the fraction in {eq}`eq-er` or {eq}`eq-erk` a layer's *raw* share $r_l$. For a small layer
# $\varepsilon r_l$ can come out above one, which no mask can give. Such a layer becomes dense, and what it
# cannot take is given to the others. With $D$ the set of layers that are dense already,
#
# $$
# \varepsilon = \frac{\sum_{l \notin D} d \, n_l - \sum_{l \in D} (1 - d) \, n_l}
#                    {\sum_{l \notin D} r_l \, n_l} .
# $$ (eq-epsilon)
#
# If now the largest $\varepsilon r_l$ is above one, that layer joins $D$, with any that ties with it, and
# {eq}`eq-epsilon` is solved again. In the end each layer gets exactly $\mathrm{round}(d_l n_l)$ active
# weights, drawn without replacement. Tossing a coin for each weight would be simpler, but then the count
# would drift from one seed to the next.

# %% [markdown]
# ### Why equal densities cost unequal FLOPs
#
# A weight of a linear layer is used once for each sample. A weight of a convolution is used once for each
# *position* of its output, $p_l$ of them. A forward pass therefore costs, with two FLOPs for a multiplication
# and an addition,
#
# $$
# f = \sum_l 2 \, p_l \, d_l \, n_l .
# $$ (eq-flops)
#
# Two masks with equally many active weights differ in cost if one puts them where $p_l$ is large. In a
# residual network the early layers have the fewest channels and the largest images; ER and ERK keep most of
# just those layers. A saving in weights is then not the same saving in FLOPs, and a comparison of
# distributions has to say which of the two is held fixed. The fourth distribution, `erk-flops`, is ERK made for
# the second: with $s_l$ for the sum of dimensions that stands above the bar of {eq}`eq-erk`,
#
# $$
# d_l \propto \frac{s_l}{p_l \, n_l} ,
# $$ (eq-method-erk-flops)
#
# for which the page on {doc}`accuracy against FLOPs <flops>` gives the reason. The table gives {eq}`eq-flops` relative to the
# dense network's.

# %% tags=["hide-input"]
from book.report import density_explorer, display, drop_schedule, runs, update_example
from rigl.training.project import model_layers

densities = density_explorer.density_table(model_layers())
display.show_table(
    density_explorer.flops_table(densities, [0.1, 0.2]),
    "FLOPs of one forward pass, relative to the dense network, by distribution of masks.",
)

# %% [markdown]
# ### Explore
#
# Choose a network, a distribution, and a budget: so many of the weights, or so many of the dense network's FLOPs.
# Each bar is a layer, from the input on the left to the output on the right; point at one to see its name and
# shape. The sentence above the plot gives the totals, and the table below it the same layers in numbers. Arrow keys
# move the slider.

# %% tags=["hide-input"]
density_explorer.show(densities, runs.load())

# %% [markdown]
# Three things to try. Keep ERK and move the density up from the left end: one after the other, layers reach the
# top and stay there, while the others take up what these cannot. Then hold the density and switch between
# uniform and ERK in a network with convolutions: the number of active weights hardly changes, the FLOPs do. Last,
# make it a budget of FLOPs and do the same: now it is the number of weights that changes.

# %% [markdown]
# ## Moving the mask
#
# A *static* network keeps its first mask. SET {cite}`mocanu2018scalable`, SNFS {cite}`dettmers2019sparse` and RigL
# {cite}`evci2020rigging` move it: in one of every $\Delta T$ steps, a mask update takes the place of the optimiser's
# step. Let layer $l$ have weights $\theta_i$, of which those in the set $A_l$ are active.
#
# **Drop.** All three drop the weights nearest to zero, a fraction $\zeta$ of the active ones (the indices of the $k$
# lowest values of a set are written $\operatorname{lowest}_k$, those of the highest likewise; ties go to the lower
# index):
#
# $$
# \begin{aligned}
# k_l &= \lceil \zeta \, |A_l| \rceil , \\
# A'_l &= A_l \setminus \operatorname{lowest}_{k_l} \{ |\theta_i| : i \in A_l \} .
# \end{aligned}
# $$ (eq-drop)
#
# **Grow.** Among all positions that are inactive now, those with the largest score $g_i$ become active. This includes
# what was dropped a moment ago.
#
# $$
# A_l \leftarrow A'_l \cup \operatorname{highest}_{m_l} \{ g_i : i \notin A'_l \} .
# $$ (eq-grow)
#
# The score is what sets the three apart. With $L$ for the loss of the batch at hand, $u_i$ for a random number and
# $v_i$ for the optimiser's momentum, which under SNFS is kept for inactive weights too,
#
# $$
# g_i = \begin{cases}
# u_i & \text{SET} \\
# \left| \partial L / \partial \theta_i \right| & \text{RigL} \\
# |v_i| & \text{SNFS} .
# \end{cases}
# $$ (eq-score)
#
# A grown weight starts at zero, also one that was dropped in this very update. The gradient of an inactive weight
# says how fast the loss would fall if the weight were let go from there: RigL needs it in update steps
# only, SNFS in every step, SET never.
#
# **How many a layer regrows.** Under SET and RigL as many as it dropped, $m_l = k_l$: no layer's density ever
# changes, and neither does the cost of a step. SNFS shares out what all layers dropped together, in proportion to the
# mean score of each layer's active weights:
#
# $$
# \begin{aligned}
# \bar g_l &= \frac{1}{|A_l|} \sum_{i \in A_l} g_i , \\
# m_l &\approx \frac{\bar g_l}{\sum_j \bar g_j} \sum_j k_j ,
# \end{aligned}
# $$ (eq-redistribution)
#
# rounded so that the sum is exact and no layer gets more than it has room for. RigL-SG and RigL-SM are RigL with
# {eq}`eq-redistribution` by gradient and by momentum. Where published codes read these rules differently, the page on
# {doc}`discrepancies <discrepancies>` says which reading stands here.
#
# ### One update, step by step
#
# A matrix of five by eight with twelve active weights, drawn at random like its gradient and its momentum, goes
# through {eq}`eq-drop` and {eq}`eq-grow`. Choose a method and how much is dropped, and step through the update. The
# numbers come from the package's own code.

# %% tags=["hide-input"]
display.show(update_example.html(update_example.example()))

# %% [markdown]
# What goes is the same under all three methods; what comes is not. With a single layer there is nothing to
# redistribute, so SNFS regrows here what it dropped.

# %% [markdown]
# ## How much moves
#
# Early in training little is known and much should move; late, a new connection has no time left to learn. The
# fraction $\zeta$ of {eq}`eq-drop` therefore falls with the step $t$, by half a cosine from $\alpha$ to nothing at
# $T_\text{end}$, from which on the mask stays as it is:
#
# $$
# \zeta(t) = \frac{\alpha}{2} \left( 1 + \cos \frac{\pi t}{T_\text{end}} \right) .
# $$ (eq-schedule)
#
# These are the method's own knobs, with $\Delta T$. Recommended are $\alpha = 0.3$, $\Delta T = 100$ and
# $T_\text{end}$ at three quarters of the training; the page on {doc}`hyperparameters <hyperparameters>` asks whether
# others do better. Move the two sliders: the plot is of the report's protocol on CIFAR-10.

# %% tags=["hide-input"]
display.show(drop_schedule.html())

# %% [markdown]
# Since {eq}`eq-drop` rounds up, an update before $T_\text{end}$ drops at least one weight in each masked layer.
#
# ## What it costs
#
# A training step costs a forward pass and about twice as much for the gradients, of activations and of weights. Where
# $f_d$ and $f_s$ are the FLOPs {eq}`eq-flops` of the dense and of the sparse network, dense training costs $3 f_d$ a
# step and image, static sparse training and SET $3 f_s$, and SNFS, with the gradient of all weights in every step,
# $2 f_s + f_d$. RigL has $\Delta T$ steps of the second kind to one of the third, which comes to {eq}`eq-cost-rigl` on
# the page about {doc}`cost <cost>`. That page also says what becomes of FLOPs on real machines.

# %% [markdown]
# ## Exercises
#
# Each is answered by moving something on this page.
#
# **1. Full layers.** In the density explorer, choose WRN-22-2 and ERK, and move the density up from the left end. Which
# layers are the first to be full, and why those?
#
# :::{dropdown} Answer
# The last one, `fc.weight`, at density 0.03; then the stem and the first block's shortcut, at 0.05. ERK gives a layer the
# density (sum of dimensions) over (product of dimensions), which is largest where the product is small: the head has ten
# outputs, the stem three input channels, a shortcut a kernel of one by one.
# :::
#
# **2. The price of ERK.** With the same network, compare uniform masks and ERK at density 0.1, then at 0.1 of the dense
# network's FLOPs. What does ERK cost in the first case, and what does it have to give up in the second?
#
# :::{dropdown} Answer
# At density 0.1 a forward pass costs 0.17 of the dense one with ERK and 0.10 with uniform masks. At a tenth of the FLOPs ERK
# keeps 5.7 % of the weights, uniform masks 9.8 %. So a comparison at equal weights favours ERK, one at equal FLOPs uniform
# masks.
# :::
#
# **3. Lost at once.** In the worked update, choose RigL and drop 0.3 of the weights. Which dropped weight comes back, and
# does it keep its value? Is it the same with SET?
#
# :::{dropdown} Answer
# One of the four does: the sixth in the first row, whose gradient is among the four largest. It starts again at zero all
# the same. SET draws its positions at random; at 0.3 none of those dropped is among them here.
# :::
#
# **4. Half the rate.** In the plot of the drop fraction, when has it fallen to half of $\alpha$? Does that depend on
# $\alpha$, or on $T_\text{end}$?
#
# :::{dropdown} Answer
# At half of $T_\text{end}$, where the cosine in {eq}`eq-schedule` is zero, whatever $\alpha$ is. With $T_\text{end}$ at three
# quarters of the training it is after three eighths.
# :::
