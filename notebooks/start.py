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
# # RigL, reproduced and executable
#
# The reproduction study of RigL {cite}`evci2020rigging,sundar2021rigging`, as a book that checks its claims.

# %% tags=["hide-input"]
from book.report import display, forest, mask_movie, runs, story, verdicts

frame = runs.load(searched=True)
found = verdicts.load(frame)
film = mask_movie.film()
display.show(mask_movie.banner(film) + story.answers(found, frame))

# %% [markdown]
# ## Every claim at a glance
#
# Each mark is the effect that one source gives, what the claim names first less what it is compared with, and its line
# the 95 % interval. A claim holds if the whole line lies in the shaded region, both sides have at least two seeds, and no
# single setting contradicts it. {doc}`verdicts` explains the rule and has every number; {doc}`method` explains the words.

# %% tags=["hide-input"]
display.show(forest.html(found))

# %% [markdown]
# ## RigL at work
#
# A network with two hidden layers learns to tell ten kinds of clothing apart. Its last layer could join each of 100
# hidden units to each of the ten kinds; one connection in ten is active. This is what RigL did to that layer in a real
# run: connections leave some hidden units and gather on others. Move the slider, or let it play.

# %% tags=["hide-input"]
display.show(mask_movie.html(film))

# %% [markdown]
# ## What surprised us

# %% tags=["hide-input"]
story.show_surprises(found, frame[~frame["searched"]])

# %% [markdown]
# ## Where to go from here
#
# - **New to sparse training?** {doc}`method` explains masks, updates and schedules, with parts to play with and exercises.
# - **Here to review?** {doc}`verdicts` gives the rule and the comparisons behind every verdict, {doc}`discrepancies` what
#   the report, its code and the original code disagree on, and {doc}`records` is one table to filter.
# - **Want to train sparsely?** {doc}`use` has the install line, one line for your own loop, and which method to choose.
#
# The words: **the paper** is Evci et al. {cite}`evci2020rigging`, who proposed RigL; **the report** is its reproduction
# study {cite}`sundar2021rigging`. A **protocol** says how long and on what a run trains: `paper` is the report's own,
# `tenth` a tenth of it, `laptop` is for small networks, with one CPU core per run. No mean mixes two protocols.
