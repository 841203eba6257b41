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
# # Cost
#
# A sparse network promises fewer FLOPs. Whether that saves time is another matter: hardware multiplies a masked weight
# like any other, unless the weight is really gone. This page shows what sparsity saves in wall time today, then what
# masking adds to a step, and finally how FLOPs are counted. Times come from records of `python -m benchmarks`. Every
# ratio is measured within one run, in which the variants take turns, and is given with its quartiles.
#
# ## What sparsity saves today

# %% tags=["hide-input"]
from book.report import cost, cost_calculator, cost_sparse, display, figures, runs
from rigl.training.project import model_layers

first, sparse = cost.first(), cost_sparse.benchmark()
display.show_text(cost_sparse.in_short(first, sparse))

# %% [markdown]
# If whole channels are dropped, `rigl.compact` cuts them out, and a smaller dense network remains. What that saves in wall
# time at density 0.1, with the worse of uniform and ERK masks:

# %% tags=["hide-input"]
display.show_text(cost.saved())

# %% [markdown]
# These networks are too small to keep a GPU busy, so it gains little; a CPU gains much:

# %% tags=["hide-input"]
display.show_table(
    cost.smaller(),
    "WRN-22-2 at density 0.1, wall time of a training step and of inference in multiples of dense.",
)

# %% [markdown]
# ## Sparse layers on a CPU
#
# PyTorch's CSR kernels multiply by the active weights alone. With `execution="auto"`, a `Sparsifier` uses them for linear
# layers on a CPU where they were measured to be faster. `rigl.save_sparse` and `rigl.sparse_inference` do the same for
# files and for inference. The table gives the speed of a whole training step (data, forward, backward, optimiser, mask
# updates) in multiples of a dense one's, by execution and density:

# %% tags=["hide-input"]
display.show_table(
    cost_sparse.training(sparse),
    "Speed of a RigL step relative to a dense one, with quartiles over rounds: below 1 it is slower. Variants take turns.",
    cost.origin(sparse),
)
display.show_text(cost_sparse.memory(sparse))

# %% tags=["hide-input"]
display.show_table(
    cost_sparse.models(sparse),
    "At density 0.05: file, memory of parameters and buffers, latency at batch 1 and 256, and a training step. Here "
    "small-dense has about as many weights as the sparse model. On other pages it has more: each width is that of dense "
    "times the square root of the density.",
    cost.origin(sparse),
)
display.show_text(cost_sparse.meaning(sparse))

# %% tags=["hide-input"]
raced = cost_sparse.race()
if len(raced):
    figures.show(
        cost_sparse.race_plot(raced),
        "Accuracy against seconds: LeNet-300-100 on Fashion-MNIST, one thread. "
        + cost_sparse.race_text(raced),
    )
else:
    display.show_text(
        "Accuracy against seconds: not run yet. `python -m benchmarks --race 21` trains the runs."
    )

# %% [markdown]
# ## What a method adds
#
# Between two updates a method multiplies gradients, weights and momentum by masks; in one of a hundred steps it moves
# the masks instead of the weights.

# %% tags=["hide-input"]
display.show_table(
    cost.methods(first),
    f"Each method's step against a dense one on {cost.name(first)}, by parts, updates included, one in a hundred steps.",
    cost.origin(first),
)

# %% [markdown]
# ## Against a plain loop
#
# The plain loop is eager float32 with torchvision's PIL pipeline in worker processes, as the published code trains.
# Where a CPU computes in bf16 the engine does too, and the plain loop does not. In float32 the engine gains by its
# memory layout, and by how it draws dropout: on a CPU torch draws a number for each value, one after another on one
# thread; the engine draws four values from one number. Convolutions are the same for both. On a GPU the engine
# captures steps as CUDA graphs once `python -m benchmarks --verify` has found them to agree with eager ones there.

# %% tags=["hide-input"]
display.show_table(
    cost.speed(),
    "WRN-22-2 on images of 32 x 32, batches of 128; medians, and quartiles below them. Images a second are medians of all "
    "rounds, ratios those of rounds in which both took turns. Whole steps of RigL against dense ones scatter more than "
    "what they are to tell apart.",
)

# %% [markdown]
# A small network leaves a large GPU waiting for the next kernel. Capturing a step takes most of that wait away, and
# several runs side by side fill what is left:

# %% tags=["hide-input"]
display.show_table(
    cost.captured(first),
    f"Images a second of dense training on {cost.name(first)}, as ratios.",
    cost.origin(first),
)

# %% [markdown]
# ## Where a step's time goes

# %% tags=["hide-input"]
if first:  # of steps taken one by one
    figures.show(cost.split(first), cost.split_text(first))

# %% tags=["hide-input"]
display.show_table(
    cost.limits(first),
    f"A dense step on {cost.name(first)}. Bytes are those of all tensors that operations "
    "read and write, as if nothing stayed in a cache; FLOPs are those of convolutions and linear layers.",
    cost.origin(first),
)

# %% tags=["hide-input"]
display.show_text(cost.ceiling(first))

# %% [markdown]
# ## The FLOP rules
#
# Convolutions and linear layers count, at two FLOPs a multiply-add; normalisation, pooling, additions and biases do
# not. A layer of $n_l$ weights, each used at $p_l$ positions of an image, costs its dense count times its density
# $d_l$, so a forward pass of one sample takes
#
# $$
# \begin{aligned}
# f_s &= \sum_l 2\, n_l\, p_l\, d_l, \\
# f_d &= \sum_l 2\, n_l\, p_l.
# \end{aligned}
# $$ (eq-cost-forward)
#
# The backward pass takes as much for the gradients of the activations and as much again for those of the weights, so
# that a training step of a dense network costs $3 f_d$, and one of a network that needs no gradient of an absent
# weight (static, SET, small-dense)
#
# $$c = 3 f_s.$$ (eq-cost-sparse)
#
# RigL needs the gradients of all weights at its updates. The published form counts them as one step in
# $\Delta T + 1$, while here as in the published code an update takes the place of one step in $\Delta T$; what runs
# count step by step stands on the page about {doc}`discrepancies <discrepancies>`.
#
# $$c = \frac{3\,\Delta T f_s + 2 f_s + f_d}{\Delta T + 1}.$$ (eq-cost-rigl)
#
# Where layers' densities move, $f_s$ is averaged over the steps of the run, written $\mathrm{E}[f]$. RigL-SG and RigL-SM
# cost {eq}`eq-cost-rigl` with $\mathrm{E}[f]$ for $f_s$; SNFS, with dense gradients at every step, and pruning cost
#
# $$
# \begin{aligned}
# c_\text{SNFS} &= 2\,\mathrm{E}[f] + f_d, \\
# c_\text{pruning} &= 3\,\mathrm{E}[f].
# \end{aligned}
# $$ (eq-cost-moving)
#
# A lottery ticket costs $3 f_s$ after its pruning run's $c_\text{pruning}$. Training $k$ times longer costs $k$ times as
# much, and inference costs $f_s$ of the last mask. Numbers “relative to dense” are training over $3 f_d$ and inference
# over $f_d$.

# %% [markdown]
# ## Calculator
#
# $\mathrm{E}[f]$ depends on a run, and so do the densities of re-initialised and structured networks. Those numbers come
# from records of such runs, where there are any, and never from another network.

# %% tags=["hide-input"]
display.show(cost_calculator.html(cost_calculator.table(model_layers(), runs.load())))

# %% [markdown]
# ## The whole report
#
# The report's networks are convolutional, and their masks save no wall time: a run costs what dense training costs,
# $3 f_d$ for each of the $N$ images of each of its $E$ epochs. A device that trains the benchmark's model, of $f_b$ FLOPs
# a forward pass, at $r$ images a second takes
#
# $$t = \frac{3 f_d N E}{3 f_b r}.$$ (eq-cost-time)
#
# Models other than the benchmark's may be faster or slower for their FLOPs. Runs are independent, except for lottery
# tickets and re-initialised networks, which start from another run's masks: $n$ devices take about an $n$th of the time.

# %% tags=["hide-input"]
display.show_table(
    cost.report_time(),
    "Hours on one device, all runs of the report's tables and figures at three seeds. The report's days are its own account of what all its runs took, on nodes of several GPUs.",
)
