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
# A neural network can be trained with most of its weights missing from the first step to the last. The
# difficulty is to know which weights to leave out, and **RigL** {cite}`evci2020rigging` finds out on the way. It
# starts from a random sparse network. Every hundred steps or so it removes, layer by layer, the connections with
# the smallest weights and grows as many new ones where the gradient of the loss is largest. The number of
# weights never changes, so a training step costs about the same at any time, and the dense gradient is needed only
# in those few steps in which connections move. SET {cite}`mocanu2018scalable` does the same but grows at random;
# *static* training never moves a connection.
#
# ## What it looks like
#
# A network with two hidden layers learns to tell ten kinds of clothing apart from small grey pictures. Its last
# layer could join each of 100 hidden units to each of the ten kinds; one connection in ten is active. Below is what
# RigL did to that layer in a real run. Move the slider, or let it play: connections leave units that are of no use
# for those that are, and as the run goes on, less and less moves.

# %% tags=["remove-input"]
from rigl.report import movie

movie.show()

# %% [markdown]
# ## How to read this book
#
# This book redoes a reproduction study of RigL {cite}`sundar2021rigging`, "the report", so that you can run it. Every
# table and plot is computed from records of training runs, and every record says which code, settings, seed and
# device made it. Where a result has no runs yet, the book says so.
#
# - {doc}`method` explains the first masks, the updates and their schedule, each with something to try that needs
#   nothing but the page.
# - {doc}`results` gathers all records, with the mean and spread over seeds. A **protocol** says how long and on what
#   a run trains: `paper` is the report's own, `tenth` a tenth of it, `laptop` and `smoke` are small enough for a
#   machine without a GPU. Figures of two protocols never stand in one table.
# - {doc}`discrepancies` lists where the report, its code and the original code differ.
# - {doc}`../book/own-loop` shows how to train your own model sparsely.
# - {doc}`../book/references` lists the papers.
#
# All pages work without a network, also when they are opened as files. Explorers are moved by mouse or keyboard; in
# JupyterLab the same notebooks show them as widgets.
#
# ## How to run it
#
# With Python (3.11 or newer), make and git, in a clone of the repository:
#
# ```bash
# make
# ```
#
# sets everything up in `.venv`, trains one small sparse network and builds this book with that run in it. To train
# another, give the notebook its parameters and a name for the output:
#
# ```bash
# source .venv/bin/activate
# papermill notebooks/train.ipynb runs/mine.ipynb -p method rigl -p density 0.1
# ```
#
# `papermill --help-notebook notebooks/train.ipynb` lists the parameters. `make book` builds the book again: the new
# notebook has become a page, and its record a part of the results. The film above is made again by
# `python -m rigl.movie`.
#
# ## How far it is
#
# Every method of the study runs from end to end: SNFS {cite}`dettmers2019sparse`, gradual pruning
# {cite}`zhu2017prune`, lottery tickets {cite}`frankle2019lottery` and RigL's variants beside dense, static, SET and RigL.
# Small runs that need no GPU are in; the study's own tables, which need one, are not.
