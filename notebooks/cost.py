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
# A sparse network promises fewer FLOPs. What a run takes in time is another matter: on today's hardware a masked
# weight is multiplied like any other, so a sparse step takes as long as a dense one, and what counts is that masking
# adds next to nothing to it, and that the step itself is close to what the machine can do. This page says how close,
# from the records that `python -m rigl.bench` leaves: every ratio is measured within one run, variants taking turns,
# and stands with its quartiles.
#
# ## Aims, and what was measured

# %% tags=["remove-input"]
from rigl.report import cost, figures, results

results.show_table(
    cost.aims(),
    "The plain loop is eager float32 with torchvision's PIL pipeline in worker processes, as the published code "
    "trains. Two of the rows are of whole runs, by images a second; “not yet” is what has not been measured.",
)

# %% [markdown]
# Where a CPU computes in bf16 the engine does too, and the plain loop does not; a CPU without it leaves the engine
# only what its memory layout and fused optimiser bring, since both spend their time in the same convolutions. Steps
# recorded as CUDA graphs are not used on a GPU before `python -m rigl.bench --verify` has found them to agree with
# eager ones there.

# %% tags=["remove-input"]
results.show_table(
    cost.speed(), "WRN-22-2 on images of 32 x 32, batches of 128; medians, and quartiles in brackets."
)

# %% [markdown]
# ## Where a step's time goes

# %% tags=["remove-input"]
first = cost.first()
if first:  # of steps taken one by one
    figures.show(cost.split(first), "Milliseconds that each part of a dense step takes.")

# %% tags=["remove-input"]
results.show_table(
    cost.limits(first),
    f"A dense step on {cost.name(first)}. Bytes are those of all tensors that operations "
    "read and write, as if nothing stayed in a cache; FLOPs are those of convolutions and linear layers.",
)

# %% tags=["remove-input"]
results.show_text(cost.ceiling(first))

# %% [markdown]
# ## What a method adds
#
# Between two updates a method multiplies gradients, weights and momentum by masks; in one of a hundred steps it moves
# the masks instead of the weights.

# %% tags=["remove-input"]
results.show_table(
    cost.methods(first),
    f"Each method's step against a dense one on {cost.name(first)}, updates included, one in a hundred steps.",
)

# %% [markdown]
# ## Networks that really are smaller
#
# Structured sparsity leaves whole channels out, and `rigl.compact` cuts them out of the network. Then fewer FLOPs are
# less time, if not in the same measure:

# %% tags=["remove-input"]
results.show_table(
    cost.structured(first),
    f"At density 0.1, against dense, on {cost.name(first)}: wall time of a training step and of inference.",
)

# %% [markdown]
# ## The whole report
#
# All runs of the report's tables and figures, one after the other, by their FLOPs at the rate that each machine
# reached on WRN-22-2. The page on [clusters](cluster) says what several machines make of that.

# %% tags=["remove-input"]
results.show_table(cost.report_time(), "Hours; the report names the compute of all its runs, in days.")
