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
# # Verdicts
#
# This page lists what the report {cite}`sundar2021rigging` claims. Code computes each verdict from the run records: change a
# record, and the page changes with it. Prose elsewhere in the book quotes these verdicts.
#
# ## What they rest on

# %% tags=["hide-input"]
from book.report import display, verdicts

found = verdicts.load()
verdicts.glue(found)
display.show(verdicts.strength(found))

# %% [markdown]
# Several networks of one grade count as one: a claim holds there if one of them confirms it and none contradicts it. That
# RigL's cost stays constant is no claim to test: masks keep exact counts in every layer, by construction and by a test.
#
# (every-verdict)=
# ## Every verdict

# %% tags=["hide-input"]
verdicts.show(found)

# %% [markdown]
# ## How a verdict is reached
#
# Each claim is a statement about one effect, such as the accuracy of RigL less that of SET, and names the *region*
# in which the effect must lie: above 0 for “better”, above $-0.5$ points for “reaches”, within half a point for “the
# same”. (The report's tables print spreads over three seeds of {glue:text}`report-spread` points in the median.) With
# the effect's interval,
#
# - **holds** (✓): the whole interval lies in the region;
# - **does not hold** (✗): the whole interval lies outside it, or, for “better”, below 0.1 points, the last digit that
#   the report prints;
# - **undecided** (?): it reaches over the edge, so the runs cannot tell;
# - **no interval** (○): there are fewer than two seeds on a side, or the report prints no spread;
# - **not tested** (-): nothing was run that could tell.
#
# An exclamation mark after a verdict by the report's numbers says that a fault found in its published code may touch every
# row behind it: masks that are not loaded, or a label that is not what was trained ({doc}`discrepancies`).
#
# So “no better” and “the same” are shown by an interval that is narrow enough, never by the lack of a clear
# difference. An effect that is only known to be at least so large, since it is read off a straight line below a curve,
# cannot speak against a claim.
#
# **Intervals.** Seeds are independent runs, compared setting by setting (masks, density, length) by Welch's $t$
# interval at the 95 % level, unpaired, which needs only means, standard deviations and numbers. That is why the
# report's printed numbers can be judged by the same function, as three seeds each, with the variance that rounding
# adds. A run that diverged counts with the accuracy of guessing.
#
# **Several settings.** The overall verdict rests on the mean effect over all settings that have an interval, with the
# interval of Welch and Satterthwaite for that mean; settings with a single seed on a side do not count where others
# have more, and each verdict says how many settings its effect is of. Where the average says one thing and a setting
# by itself surely the other, the claim is undecided; a claim about every density or row is judged by each of them, and
# the worst is shown:
#
# $$\hat\delta = \sum_i \omega_i\,(\bar a_i - \bar b_i), \qquad \omega_i \propto \frac{1}{\max(\sigma_i^2,\ 4\,\tilde\sigma^2)},$$ (eq-pooled)
#
# where $\sigma_i$ is the standard error of setting $i$'s difference and $\tilde\sigma$ the median one. Settings weigh
# alike, but for those whose seeds lie far further apart than the others' do, as where some collapse: these would drown
# the rest. Where there are such, they are named with their seeds; so are printed rows that a fault in the published code
# may touch ({doc}`discrepancies`). Runs that stand in several settings are counted as the same runs. A setting's own
# verdict is in the tables below. Of many settings, one in forty strays by chance, so a setting contradicts the average
# only if its interval does so at the level that Bonferroni's correction asks of as many comparisons: 99.4 % for nine
# settings.
#
# **Grades of evidence.** A claim about WRN-22-2 is not settled by a three-layer network. Each verdict therefore says what
# it rests on: a fully connected network, a small convolutional one, the report's own network, or the numbers that the
# report prints, and how many seeds there are.
#
# **Counted numbers.** FLOPs and densities are counted, not sampled: there the range over runs takes the place of the
# interval, and a claim holds where every run is as it says.

# %% [markdown]
# ## RigL and its rivals

# %% [markdown]
# (claim-rigl-beats-set)=
# ### RigL against SET
#
# The report's central finding (sections 5.1 and 5.2): with the budget given, RigL is ahead of the other methods that
# train sparse networks from the start.

# %% tags=["hide-input"]
verdicts.show_claim("rigl-beats-set", found)

# %% [markdown]
# (claim-rigl-beats-static)=
# ### RigL against a fixed mask
#
# Fixed random masks are the report's weakest baseline, together with small dense networks.

# %% tags=["hide-input"]
verdicts.show_claim("rigl-beats-static", found)

# %% [markdown]
# (claim-rigl-beats-small-dense)=
# ### RigL against a small dense network
#
# Section 5.1 has small dense networks behind every sparse method that moves its masks. At one density ERK masks cost
# more FLOPs than a narrower network does, uniform masks about as many. Without convolutions a narrower network keeps
# far more weights than its density says, so the comparison is not made there.

# %% tags=["hide-input"]
verdicts.show_claim("rigl-beats-small-dense", found)

# %% [markdown]
# (claim-dense-parity)=
# ### RigL against the dense network
#
# Section 5.1: “at lower sparsities (higher densities), RigL matches the performance of the dense baseline”. Table 4
# prints density 0.5.

# %% tags=["hide-input"]
verdicts.show_claim("dense-parity", found)

# %% [markdown]
# (claim-matches-pruning)=
# ### RigL trained twice as long: does it match pruning?
#
# Sections 5 and 5.1. At density 0.2 the two do not cost alike; the report makes the claim for 0.1.

# %% tags=["hide-input"]
verdicts.show_claim("matches-pruning", found)

# %% [markdown]
# (claim-exceeds-pruning)=
# ### RigL trained twice as long: does it exceed pruning?
#
# Section 5.1: “training RigL (ERK) twice as long at 90% sparsity exceeds the performance of iterative pruning”. The
# comparison is the one above; only the region differs.

# %% tags=["hide-input"]
verdicts.show_claim("exceeds-pruning", found)

# %% [markdown]
# (claim-longer-matches-pruning)=
# ### RigL trained longer, with either masks: does it match pruning?
#
# For CIFAR-100 the report names uniform masks, trained two and three times as long (Table 3).

# %% tags=["hide-input"]
verdicts.show_claim("longer-matches-pruning", found)

# %% [markdown]
# (claim-longer-exceeds-pruning)=
# ### RigL trained longer, with either masks: does it exceed pruning?
#
# Table 3's caption: RigL 3x at density 0.1 and RigL 2x at density 0.2 “surpass iterative pruning”.

# %% tags=["hide-input"]
verdicts.show_claim("longer-exceeds-pruning", found)

# %% [markdown]
# (claim-tickets-match-pruning)=
# ### Lottery tickets
#
# Section 5.2 obtains tickets “with a commensurate performance for sparsities lower than 80%”, and leaves open with
# what; here it is the pruning run that a ticket comes from. The page about [discrepancies](discrepancies) takes a
# ticket apart.

# %% tags=["hide-input"]
verdicts.show_claim("tickets-match-pruning", found)

# %% [markdown]
# (claim-snfs-better)=
# ### SNFS against RigL
#
# Section 5.1: SNFS can be ahead of RigL.

# %% tags=["hide-input"]
verdicts.show_claim("snfs-better", found)

# %% [markdown]
# (claim-structured-no-better)=
# ### Structured sparsity
#
# The supplement finds that channels instead of weights cost RigL its lead: a small dense network does as well.

# %% tags=["hide-input"]
verdicts.show_claim("structured-no-better", found)

# %% [markdown]
# ## Hyperparameters

# %% [markdown]
# (claim-reference-hyperparameters)=
# ### The usual alpha and update interval
#
# Table 4: tuning both for each density and distribution gains little.

# %% tags=["hide-input"]
verdicts.show_claim("reference-hyperparameters", found)

# %% [markdown]
# (claim-learning-rate-0-1)=
# ### A learning rate of 0.1
#
# Figure 3: 0.1 and 0.05 are “good choices overall”. It is a plot without numbers, so only runs can be judged. Note
# that 0.1 is the edge of the grid: the report says that larger rates do not converge, and shows none.

# %% tags=["hide-input"]
verdicts.show_claim("learning-rate-0-1", found)

# %% [markdown]
# (claim-learning-rate-0-05)=
# ### A learning rate of 0.05
#
# The other rate that the report names.

# %% tags=["hide-input"]
verdicts.show_claim("learning-rate-0-05", found)

# %% [markdown]
# ## Masks and redistribution

# %% [markdown]
# (claim-erk-at-equal-parameters)=
# ### ERK and uniform masks with as many weights
#
# Sections 5.1 and 6.1: ERK is ahead at the same density, SNFS aside.

# %% tags=["hide-input"]
verdicts.show_claim("erk-at-equal-parameters", found)

# %% [markdown]
# (claim-uniform-at-equal-flops)=
# ### Uniform masks and ERK at equal cost
#
# Section 6.1, Figure 4: at the same training FLOPs ERK has to be sparser, and loses. The report's tables have no rows
# of equal cost; between two rows of uniform masks, or one and dense, the accuracy at ERK's cost is read off a
# straight line, which a curve that flattens lies above.

# %% tags=["hide-input"]
verdicts.show_claim("uniform-at-equal-flops", found)

# %% [markdown]
# (claim-masks-over-method)=
# ### Masks or method: which matters more?
#
# Sections 5.2 and 7: the choice of masks has “a greater impact” than the method, SNFS aside.

# %% tags=["hide-input"]
verdicts.show_claim("masks-over-method", found)

# %% [markdown]
# (claim-redistribution-lifts-uniform)=
# ### Redistribution from uniform masks
#
# Section 6.2, Table 5: it improves RigL with uniform masks.

# %% tags=["hide-input"]
verdicts.show_claim("redistribution-lifts-uniform", found)

# %% [markdown]
# (claim-redistribution-reaches-erk)=
# ### Redistribution from uniform masks, against ERK
#
# The same table: up to where ERK is.

# %% tags=["hide-input"]
verdicts.show_claim("redistribution-reaches-erk", found)

# %% [markdown]
# (claim-redistribution-no-help-to-erk)=
# ### Redistribution from ERK
#
# And RigL with ERK gains nothing from it.

# %% tags=["hide-input"]
verdicts.show_claim("redistribution-no-help-to-erk", found)

# %% [markdown]
# (claim-reinit-hurts)=
# ### Restarting from the masks found
#
# Table 5: the masks that redistribution ends with, given to fresh weights, do worse than the run that found them.

# %% tags=["hide-input"]
verdicts.show_claim("reinit-hurts", found)

# %% [markdown]
# ## Against the original code

# %% [markdown]
# (claim-within-the-original)=
# ### Table 1
#
# With no images held out, the report's code comes near what it gives for the original one; its summary says within
# 0.1 points for RigL. Table 1 prints no spread, so its own numbers have no interval.

# %% tags=["hide-input"]
verdicts.show_claim("within-the-original", found)

# %% [markdown]
# ## Training FLOPs

# %% [markdown]
# (claim-redistribution-costs)=
# ### What redistribution costs
#
# The report explains it by the layers that weights move to: 1x1 convolutions, few in weights and dear in FLOPs.

# %% tags=["hide-input"]
verdicts.show_claim("redistribution-costs", found)

# %% [markdown]
# (claim-snfs-costs)=
# ### What SNFS costs
#
# It needs dense gradients at each step, which makes it dearer by the FLOP rules alone, and moves weights to layers where
# they cost more.

# %% tags=["hide-input"]
verdicts.show_claim("snfs-costs", found)

# %% [markdown]
# ## Where densities end, and when

# %% [markdown]
# (claim-weights-settle)=
# ### When weights settle
#
# Section 6.2 and Figure 5: “within a few epochs (~10k steps)” of 88,000. Runs note their densities after epochs 1, 2,
# 3, 4, 6, 8 and every twentieth of the training, so short ones tell this to an epoch only. This test counts weights,
# so large layers decide it.

# %% tags=["hide-input"]
verdicts.show_claim("weights-settle", found)

# %% [markdown]
# (claim-layers-settle)=
# ### When every layer settles
#
# The same question, asked of the slowest layer, which may be a small one. What counts as settled is our choice in
# both.

# %% tags=["hide-input"]
verdicts.show_claim("layers-settle", found)

# %% [markdown]
# (claim-densities-more-extreme)=
# ### Beyond ERK
#
# Figure 5: where ERK keeps more of a layer than uniform masks, redistribution keeps still more, and where less, still
# less. LeNet-300-100 has only three layers: little to judge by.

# %% tags=["hide-input"]
verdicts.show_claim("densities-more-extreme", found)

# %% [markdown]
# ## Stability

# %% [markdown]
# (claim-set-unstable)=
# ### SET, sparse and long
#
# Section 5.1 explains SET's low mean at density 0.1, trained twice as long, by its random growth. How one collapsed
# seed is read off a mean and a standard deviation stands on the page about [discrepancies](discrepancies).

# %% tags=["hide-input"]
verdicts.show_claim("set-unstable", found)
