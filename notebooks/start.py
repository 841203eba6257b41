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
# RigL did to that layer in a real run. Move the slider, or let it play; the line below it counts the connections that
# an update drops and grows, and the hidden units that are still connected.

# %% tags=["remove-input"]
from book.report import display, mask_movie, pages, runs, verdicts

display.show(mask_movie.html(mask_movie.film()))

# %% [markdown]
# ## What the report claims
#
# This book redoes a reproduction study of RigL {cite}`sundar2021rigging`, "the report". Each of its claims is
# a function of the records of our runs, and has a verdict: it holds (✓), does not hold (✗), is undecided (?) or not
# tested (-). A claim leads to the comparison behind it, and from there to the runs. The
# {doc}`page on claims <claims>` says how a verdict is reached; {doc}`method` explains uniform masks, ERK, Delta-T and
# redistribution, and {doc}`structured` the small dense networks. Pruning removes weights from a dense network while it
# trains; “2x” means trained twice as long, $\alpha$ is the share of connections that the first update replaces, and
# Delta-T the number of steps from one update to the next. SNFS and RigL-SM also move connections between layers.
# `laptop` are our own small runs, on networks of the names given.

# %% tags=["remove-input"]
frame = runs.load(searched=True)
found = verdicts.load(frame)
verdicts.show_in_short(found)
display.show_text(pages.ranks_in_short(frame[~frame["searched"]]))

# %% tags=["remove-input"]
verdicts.show(found)

# %% [markdown]
# ## How to read this book
#
# Every table and plot is computed from records of training runs when the book is built, and every record says which
# code, settings, seed and device made it. A result without runs says so.
#
# A **protocol** says how long and on what a run trains. `paper` is the report's own and needs a GPU, `tenth` is a
# tenth of it, `laptop` is for small networks on CPU cores, `smoke` for a first try. A table never mixes two
# protocols, and its caption says whether the protocol is the report's.
#
# - {doc}`method` explains the first masks, the updates and their schedule, each with something to try that needs
#   nothing but the page; {doc}`cost` says what all this takes.
# - {doc}`laptop`, {doc}`cifar10` and {doc}`cifar100` hold the report's main tables, in its figures and in ours.
# - {doc}`hyperparameters`, {doc}`flops`, {doc}`budgets`, {doc}`redistribution` and {doc}`structured` each ask one
#   question.
# - {doc}`discrepancies` lists where the report, its code and the original code differ; {doc}`claims` has the verdict on
#   each claim.
# - {doc}`../book/own-loop` shows how to train your own model sparsely, {doc}`../book/run` how to make any run of this
#   book, on a laptop, a GPU or a cluster; {doc}`../book/api` lists the functions behind both.
#
# All methods of the report are there: beside dense, static, SET and RigL also SNFS {cite}`dettmers2019sparse`, gradual
# pruning {cite}`zhu2017prune`, lottery tickets {cite}`frankle2019lottery` and RigL's variants. All pages work without
# a network, also when opened as files. The interactive parts take mouse and keyboard, on a page as in JupyterLab,
# where the density explorer is made of widgets.
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
# notebook has become a page, and its record a part of the results. The picture above is made again by
# `python -m rigl.training.movie`.
