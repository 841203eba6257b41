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
# # Claims
#
# What the report {cite}`sundar2021rigging` claims, each claim as a function of the records, and the verdict it comes
# to. Change a record and this page changes with it; prose elsewhere in the book quotes these verdicts.

# %% tags=["remove-input"]
from book.report import verdicts

found = verdicts.load()
verdicts.glue(found)
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
# - **undecided** (?): it reaches over the edge, or there are fewer than two seeds on a side;
# - **not tested** (-): nothing was run that could tell.
#
# So “no better” and “the same” are shown by an interval that is narrow enough, never by the lack of a clear
# difference. An effect that is only known to be at least so large, since it is read off a straight line below a curve,
# cannot speak against a claim.
#
# **Intervals.** Seeds are independent runs, compared setting by setting (masks, density, length) by Welch's $t$
# interval at the 95 % level, unpaired, which needs only means, standard deviations and numbers. That is why the
# report's printed figures can be judged by the same function, as three seeds each. A run that diverged counts with
# the accuracy of guessing.
#
# **Several settings.** The overall verdict rests on the mean effect over all settings, with the interval of Welch and
# Satterthwaite for that mean. Where the average says one thing and a setting by itself surely the other, the claim is
# undecided; a claim about every density or row is judged by each of them, and the worst is shown:
#
# $$\hat\delta = \sum_i \omega_i\,(\bar a_i - \bar b_i), \qquad \omega_i \propto \frac{1}{\max(\sigma_i^2,\ 4\,\tilde\sigma^2)},$$ (eq-pooled)
#
# where $\sigma_i$ is the standard error of setting $i$'s difference and $\tilde\sigma$ the median one. Settings weigh
# alike, but for those whose seeds lie far further apart than the others' do, as where some collapse: these would drown
# the rest. Where that makes a difference the unweighted mean is given too. Runs that stand in several settings are
# counted as the same runs. A setting's own verdict is in the tables below; with many settings, one in forty strays by
# chance.
#
# **Counted figures.** FLOPs and densities are counted, not sampled: there the range over runs takes the place of the
# interval, and a claim holds where every run is as it says.

# %% [markdown]
# ## RigL and its rivals
#
# In short, on a laptop. RigL against SET: {glue:text}`claim-rigl-beats-set-laptop`. Against a fixed mask:
# {glue:text}`claim-rigl-beats-static-laptop`. By the report's own figures, against SET:
# {glue:text}`claim-rigl-beats-set-report`.

# %% [markdown]
# (claim-rigl-beats-set)=
# ### RigL against SET
#
# The report's central finding (sections 5.1 and 5.2): with the budget given, RigL is ahead of the other
# methods that train sparse networks from the start.

# %% tags=["remove-input"]
verdicts.show_claim("rigl-beats-set", found)

# %% [markdown]
# (claim-rigl-beats-static)=
# ### RigL against a fixed mask
#
# Fixed random masks are the report's weakest baseline, together with small dense networks.

# %% tags=["remove-input"]
verdicts.show_claim("rigl-beats-static", found)

# %% [markdown]
# (claim-rigl-2x-erk-reaches-pruning)=
# ### RigL trained twice as long against pruning
#
# Sections 5.1 and 5.2: longer training brings RigL level with pruning, or past it, at similar cost. At density 0.2
# the two do not cost alike; the claim is made for 0.1.

# %% tags=["remove-input"]
verdicts.show_claim("rigl-2x-erk-reaches-pruning", found)

# %% [markdown]
# (claim-longer-rigl-reaches-pruning)=
# ### RigL trained longer, with either masks
#
# For CIFAR-100 the report names uniform masks, trained two and three times as long.

# %% tags=["remove-input"]
verdicts.show_claim("longer-rigl-reaches-pruning", found)

# %% [markdown]
# (claim-constant-flops)=
# ### Constant cost
#
# Without redistribution, layers keep their densities, so a step costs the same from the first to the last.

# %% tags=["remove-input"]
verdicts.show_claim("constant-flops", found)

# %% [markdown]
# (claim-set-unstable)=
# ### SET, sparse and long
#
# Section 5.1 explains SET's low mean at density 0.1, trained twice as long, by its random growth. How one
# collapsed seed is read off a mean and a standard deviation stands on the page about [discrepancies](discrepancies).

# %% tags=["remove-input"]
verdicts.show_claim("set-unstable", found)

# %% [markdown]
# (claim-snfs-better)=
# ### SNFS against RigL
#
# Section 5.1: SNFS can be ahead of RigL.

# %% tags=["remove-input"]
verdicts.show_claim("snfs-better", found)

# %% [markdown]
# (claim-snfs-costs)=
# ### What SNFS costs
#
# It needs dense gradients at each step, and moves weights to layers where they cost more.

# %% tags=["remove-input"]
verdicts.show_claim("snfs-costs", found)

# %% [markdown]
# (claim-structured-no-better)=
# ### Structured sparsity
#
# The supplement finds that channels instead of weights cost RigL its lead: a small dense network does as well. A
# small dense network without convolutions keeps far more weights than its density says, and then this is no fair
# comparison.

# %% tags=["remove-input"]
verdicts.show_claim("structured-no-better", found)

# %% [markdown]
# ## Hyperparameters

# %% [markdown]
# (claim-reference-hyperparameters)=
# ### The usual alpha and update interval
#
# Table 4: tuning both for each density and distribution gains little.

# %% tags=["remove-input"]
verdicts.show_claim("reference-hyperparameters", found)

# %% [markdown]
# (claim-one-learning-rate)=
# ### One learning rate for all densities
#
# Figure 3: 0.1 and 0.05 do well throughout. It is a plot without figures, so only runs can be judged here.

# %% tags=["remove-input"]
verdicts.show_claim("one-learning-rate", found)

# %% [markdown]
# ## Where weights go

# %% [markdown]
# (claim-erk-at-equal-parameters)=
# ### ERK and uniform masks with as many weights
#
# Sections 5.1 and 6.1: ERK is ahead at the same density, SNFS aside.

# %% tags=["remove-input"]
verdicts.show_claim("erk-at-equal-parameters", found)

# %% [markdown]
# (claim-uniform-at-equal-flops)=
# ### Uniform masks and ERK at equal cost
#
# Section 6.1, Figure 4: at the same training FLOPs ERK has to be sparser, and loses. The report's tables have no
# rows of equal cost; between two rows of uniform masks, or one and dense, the accuracy at ERK's cost is read off a
# straight line, which a curve that flattens lies above.

# %% tags=["remove-input"]
verdicts.show_claim("uniform-at-equal-flops", found)

# %% [markdown]
# (claim-redistribution-lifts-uniform)=
# ### Redistribution from uniform masks
#
# Section 6.2, Table 5: it improves RigL with uniform masks.

# %% tags=["remove-input"]
verdicts.show_claim("redistribution-lifts-uniform", found)

# %% [markdown]
# (claim-redistribution-reaches-erk)=
# ### As good as ERK
#
# The same table: up to where ERK is.

# %% tags=["remove-input"]
verdicts.show_claim("redistribution-reaches-erk", found)

# %% [markdown]
# (claim-redistribution-no-help-to-erk)=
# ### Redistribution from ERK
#
# And RigL with ERK gains nothing from it.

# %% tags=["remove-input"]
verdicts.show_claim("redistribution-no-help-to-erk", found)

# %% [markdown]
# (claim-redistribution-costs)=
# ### What redistribution costs
#
# The report explains it by the layers that weights move to: 1x1 convolutions, few in weights and dear in FLOPs.

# %% tags=["remove-input"]
verdicts.show_claim("redistribution-costs", found)

# %% [markdown]
# (claim-densities-settle)=
# ### When densities settle
#
# Figure 5: within about 10,000 of 88,000 steps. Runs note their densities after epochs 1, 2, 3, 4, 6, 8 and every
# twentieth of the training, so short ones tell this to an epoch only. What counts as settled is our choice.

# %% tags=["remove-input"]
verdicts.show_claim("densities-settle", found)

# %% [markdown]
# (claim-densities-more-extreme)=
# ### Beyond ERK
#
# Figure 5: where ERK keeps more of a layer than uniform masks, redistribution keeps still more, and where less,
# still less. LeNet-300-100 has only three layers: little to judge by.

# %% tags=["remove-input"]
verdicts.show_claim("densities-more-extreme", found)

# %% [markdown]
# (claim-reinit-hurts)=
# ### Restarting from the masks found
#
# Table 5: the masks that redistribution ends with, given to fresh weights, do worse than the run that found them.

# %% tags=["remove-input"]
verdicts.show_claim("reinit-hurts", found)

# %% [markdown]
# ## Against the original

# %% [markdown]
# (claim-within-the-original)=
# ### Table 1
#
# With no images held out, the report's code comes near what it gives for the original one; its summary says
# within 0.1 points for RigL. Table 1 prints no spread, so its own figures have no interval.

# %% tags=["remove-input"]
verdicts.show_claim("within-the-original", found)
