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
# # Since 2021
#
# The report {cite}`sundar2021rigging` is from the spring of 2021. What has been found since that bears on its
# claims? This page puts later work beside the verdicts of this book: what it prints, whether it agrees with
# the claim, and the text that each number was read in. Numbers whose source could not be read are left out
# and listed at the end.
#
# A result agrees or disagrees with a claim only if it compares what the claim compares, at about the same
# cost where the claim names cost. Whatever else bears on the claim qualifies it, and its row says what it
# compares. A work with several results counts once for a claim, as divided if some agree and others disagree.
#
# Most of this work trains ResNet-50 on ImageNet, which is far larger than anything in this book, and little
# of it prints intervals. So it says where a claim has been seen elsewhere, not how sure it is.

# %% tags=["hide-input"]
from book.report import display, later_work, verdicts

found = verdicts.load()
display.show_text(later_work.in_short())

# %% tags=["hide-input"]
later_work.show_summary(found)

# %% [markdown]
# ## Does it matter where connections grow?
#
# The report's main comparison is RigL against SET, which grows at random. JaxPruner {cite}`lee2023jaxpruner`
# compares both in one code base. Its README prints neither densities nor costs, but its default
# configurations give all methods the same density, masks and length for a task. Chase {cite}`yin2023chase`
# prints both methods at unequal costs. GSE {cite}`heddes2024gse`, which needs the gradient of a sample only,
# and CHTs {cite}`zhang2025cht`, which need none, are compared with other methods as a whole.

# %% tags=["hide-input"]
later_work.show("rigl-beats-set", found)

# %% [markdown]
# ## Does it matter that connections move at all?
#
# Where later work trains both, moving connections beats fixed random masks
# {cite}`lee2023jaxpruner,nowak2023fantastic`. But fixed masks have become better rivals: by larger networks
# and better layer densities {cite}`liu2022random,gadhikar2023random`, and by help with the signs of weights
# {cite}`gadhikar2025signin`. In language models, a sparse network can be a first stage
# {cite}`thangarasa2023spdf`. These works compare with dense networks or pruning, not with RigL.

# %% tags=["hide-input"]
later_work.show("rigl-beats-static", found)

# %% [markdown]
# ## Does longer training reach pruning?
#
# RigL's authors went on training {cite}`evci2020rigging`, and ITOP {cite}`liu2021itop` explains why that
# helps; neither README has pruning to compare with. Only JaxPruner {cite}`lee2023jaxpruner` prints both,
# without their costs. GraNet {cite}`liu2021granet` joins pruning and regrowth; sparse pre-training of
# language models {cite}`jin2025journey` prunes without regrowth. The table of Chase {cite}`yin2023chase`
# shows that it and MEST {cite}`yuan2021mest` gain by longer training too, but says nothing of RigL trained
# longer, or of pruning.

# %% tags=["hide-input"]
later_work.show("longer-matches-pruning", found)

# %% [markdown]
# ## Do the usual hyperparameters do?
#
# The report finds little to gain by tuning alpha and the update interval, and one learning rate good at every
# density. Later work is in tension with both, though nothing that could be read tests them by themselves:
# ITOP {cite}`liu2021itop` gains by settings under which more connections are tried, and others find that what
# is tuned for dense networks fits sparse ones badly {cite}`dey2024supar,kuznedelev2024rethinking`.

# %% tags=["hide-input"]
later_work.show("reference-hyperparameters", found)

# %% tags=["hide-input"]
later_work.show("learning-rate-0-1", found)

# %% [markdown]
# ## ERK or uniform masks?
#
# RigL's own README {cite}`evci2020rigging`, by the paper's authors, has ERK ahead with as many weights, and uniform masks
# at equal cost, though it does not say the second.

# %% tags=["hide-input"]
later_work.show("erk-at-equal-parameters", found)

# %% tags=["hide-input"]
later_work.show("uniform-at-equal-flops", found)

# %% [markdown]
# ## SNFS
#
# Chase {cite}`yin2023chase` prints SNFS and RigL in one table, where SNFS costs more to train.

# %% tags=["hide-input"]
later_work.show("snfs-better", found)

# %% tags=["hide-input"]
later_work.show("snfs-costs", found)

# %% [markdown]
# ## Structure
#
# The report's RigL-struct moves whole channels from the start and gains nothing over a small dense network.
# Chase {cite}`yin2023chase` lets channels empty and then cuts them; SRigL {cite}`lasby2024srigl` asks for
# less structure. Neither is compared with a small dense network in the text that was read.

# %% tags=["hide-input"]
later_work.show("structured-no-better", found)

# %% [markdown]
# ## Not printed
#
# Three works are in no table. EAST {cite}`li2024east` is about extreme sparsity, HAM {cite}`jacobs2026ham`
# about the signs of weights, and SMC-Bench {cite}`liu2023smc` about hard tasks, on which representative
# sparse methods fail out of the box; what could be read of them compares nothing that a claim compares. No
# text with the following numbers could be read, so none of them is printed:

# %% tags=["hide-input"]
later_work.show_unread()

# %% [markdown]
# Every row of this page, with its source:

# %% tags=["hide-input"]
later_work.show_data()
