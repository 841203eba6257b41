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
# The report {cite}`sundar2021rigging` is from the spring of 2021. What has been found since that bears on its claims?
# This page puts later work beside the verdicts of this book: what it prints, whether it agrees with the claim, and the
# text that each figure was read in. Numbers whose source could not be read are left out and listed at the end.
#
# Most of this work trains ResNet-50 on ImageNet, which is far larger than anything in this book, and little of it
# prints intervals. So it says where a claim has been seen elsewhere, not how sure it is.

# %% tags=["hide-input"]
from book.report import display, later_work, verdicts

found = verdicts.load()
display.show_text(later_work.in_short())

# %% tags=["hide-input"]
later_work.show_summary(found)

# %% [markdown]
# ## Does it matter where connections grow?
#
# The report's main comparison is RigL against SET, which grows at random. JaxPruner {cite}`lee2023jaxpruner` compares
# both in one code base on five tasks. GSE {cite}`heddes2024gse` needs the gradient of a random sample only, and CHTs
# {cite}`zhang2025cht` need none.

# %% tags=["hide-input"]
later_work.show("rigl-beats-set", found)

# %% [markdown]
# ## Does it matter that connections move at all?
#
# Where later work trains both, moving connections beats fixed random masks {cite}`lee2023jaxpruner,nowak2023fantastic`.
# But fixed masks have become better rivals: by larger networks and better layer densities
# {cite}`liu2022random,gadhikar2023random`, and by help with the signs of weights
# {cite}`gadhikar2025signin,jacobs2026ham`. In language models, fixed masks can be a first stage
# {cite}`thangarasa2023spdf`; and on hard tasks all sparse methods fail alike {cite}`liu2023smc`.

# %% tags=["hide-input"]
later_work.show("rigl-beats-static", found)

# %% [markdown]
# ## Does longer training reach pruning?
#
# RigL's authors went on training {cite}`evci2020rigging`, ITOP {cite}`liu2021itop` explains why that helps, and MEST
# {cite}`yuan2021mest` and Chase {cite}`yin2023chase` gain by it too. GraNet {cite}`liu2021granet` joins pruning and
# regrowth; so does, without regrowth, sparse pre-training of language models {cite}`jin2025journey`.

# %% tags=["hide-input"]
later_work.show("longer-matches-pruning", found)

# %% [markdown]
# ## Do the usual hyperparameters do?
#
# The report finds little to gain by tuning alpha and the update interval, and one learning rate good at every density.
# Later work is in tension with both: ITOP {cite}`liu2021itop` gains by a longer interval, and others find that recipes
# made for dense networks fit sparse ones badly {cite}`dey2024supar,kuznedelev2024rethinking`.

# %% tags=["hide-input"]
later_work.show("reference-hyperparameters", found)

# %% tags=["hide-input"]
later_work.show("learning-rate-0-1", found)

# %% [markdown]
# ## ERK or uniform masks?
#
# With as many weights ERK is ahead; at equal cost uniform masks are. RigL's own README
# {cite}`evci2020rigging` shows both, though it does not say the second.

# %% tags=["hide-input"]
later_work.show("erk-at-equal-parameters", found)

# %% tags=["hide-input"]
later_work.show("uniform-at-equal-flops", found)

# %% [markdown]
# ## SNFS
#
# Chase {cite}`yin2023chase` prints SNFS and RigL in one table, with the numbers of the papers that it cites.

# %% tags=["hide-input"]
later_work.show("snfs-better", found)

# %% tags=["hide-input"]
later_work.show("snfs-costs", found)

# %% [markdown]
# ## Structure
#
# The report's RigL-struct moves whole channels from the start and gains nothing over a small dense network. Chase
# {cite}`yin2023chase` lets channels empty and then cuts them; SRigL {cite}`lasby2024srigl` asks for less structure.

# %% tags=["hide-input"]
later_work.show("structured-no-better", found)

# %% [markdown]
# ## Not printed
#
# Of these, and of extreme sparsity {cite}`li2024east`, no text with the figures could be read, so that none is printed:

# %% tags=["hide-input"]
later_work.show_unread()

# %% [markdown]
# Every row of this page, with its source:

# %% tags=["hide-input"]
later_work.show_data()
