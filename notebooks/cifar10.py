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
# # CIFAR-10
#
# Tables 1 and 2 and Figure 1 of the study {cite}`sundar2021rigging`: a WideResNet-22-2 on CIFAR-10 by every method, at
# densities from 0.05 to 0.5. Only the protocol `paper` is the study's own; choose at the top which one to see. `tenth` is
# the same network for a tenth of the epochs. `laptop` is a WRN-10-2 on images mean-pooled to 16 x 16 for 20 epochs, on one processor core: not the study's
# network, and short.
#
# Each of our numbers is a button that opens the runs behind it: seed, device, commit and a link to the record. Where
# there are no runs yet, it shows the command that makes one.

# %% tags=["remove-cell"]
from book.report import figures, pages

before = set(globals())

# %% tags=["parameters", "remove-input"]
protocol: str = "paper"  # paper, tenth, laptop or smoke: shown when the page opens, and trained by run
seeds: str = None  # separated by commas; None shows all there are and trains 0,1,2
run: bool = False  # whether to train the missing runs before showing the page

# %% tags=["remove-cell"]
page = pages.configure(globals(), before, "table1 table2 figure1", datasets=("cifar10",))
page.train()

# %% tags=["remove-input"]
page.choose()

# %% [markdown]
# ## Table 2
#
# The study groups its rows by what they cost. Training FLOPs are relative to training the dense network once.

# %% tags=["remove-input"]
page.table("table2")

# %% tags=["remove-input"]
page.rank("table2")

# %% [markdown]
# ## Table 1
#
# Trained on all 50,000 images, with nothing held out, as the original paper {cite}`evci2020rigging` trains; what the study
# has for the original code stands beside.

# %% tags=["remove-input"]
page.table("table1")

# %% [markdown]
# ## Figure 1
#
# The study prints the numbers behind two of the densities only, in Table 2.

# %% tags=["remove-input"]
page.show(figures.by_density)
