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
# # One training run
#
# This notebook trains one network, sparsely or densely, and shows what came of it. Every knob is a
# parameter: change the cell below, or give the values to papermill,
#
# ```
# papermill notebooks/train.ipynb OUT.ipynb -p method rigl -p density 0.1
# ```
#
# and `papermill --help-notebook notebooks/train.ipynb` lists them all. What is `None` is as the protocol has
# it. A run that is already in `results/` is not trained again, and one that was interrupted goes on from its
# last epoch.
#
# The methods are `dense`, `small-dense`, `static`, `set`, `snfs`, `rigl`, `rigl-sg`, `rigl-sm`, `rigl-struct`,
# `pruning`, `lottery` and `rigl-reinit`. The last two start from another run's final masks, those of `pruning`
# and of `rigl-sm` with the same settings: where there is none it is trained first. The name of a record as
# `distribution` takes the layer densities that its run ended with.

# %% tags=["remove-cell"]
from book.report import figures
from rigl import train
from rigl.training import notebook

before = set(globals())

# %% tags=["parameters"]
method: str = "rigl"  # static, set, snfs, rigl, pruning, ...: all are named above
density: float = 0.1  # active weights over all weights, above 0 and at most 1
distribution: str = "erk"  # how layers share the density: uniform, er, erk, erk-flops or a record
flops: float = None  # a budget in place of density: forward FLOPs over dense, at most 1
dataset: str = None  # digits, fashion-mnist, cifar10 or cifar100; None is the protocol's own
model: str = None  # lenet-300-100, resnet-50 or wrn-D-K; None is the protocol's own
protocol: str = "auto"  # paper, tenth, laptop, smoke; auto picks by device and dataset
multiplier: int = 1  # how many times longer to train, 1, 2, 3, ...
epochs: int = None  # epochs before the multiplier; None is the protocol's own
validation: int = None  # training images held out; None is the protocol's own, 0 trains on all
augmentation: str = None  # none, flip, crop-flip or resized-crop-flip; None is the protocol's own
learning_rate: float = None  # at the start; None is the protocol's own
alpha: float = 0.3  # share of active weights that the first update drops
decay: str = "cosine"  # how that share falls: cosine, linear, constant or inverse-power
delta_t: int = 100  # steps from one mask update to the next
t_end: float = 0.75  # share of the steps after which masks stay
seed: int = 0  # decides the initial weights, the masks and the order of images
preset: str = "repro2021"  # rules in which published codes differ: repro2021 or google
device: str = "auto"  # auto, cpu, cuda or one of several GPUs such as cuda:1
precision: str = "auto"  # auto, float32 or bf16
execution: str = "masked"  # of linear layers on a CPU: masked, sparse or auto (sparse where it is faster)
results: str = "results"  # folder of the run records, from the project's own folder
tracker: str = None  # tensorboard or wandb: watch the run live, its logs are under results/.logs

# %% tags=["remove-input"]
config, options = notebook.configure(globals(), before)

# %% tags=["remove-output"]
record = train(config, **options)

# %% tags=["remove-input"]
print(notebook.summary(record, options["results"]))

# %% [markdown]
# ## Loss and accuracy
#
# After every epoch, on the images trained on and on those held out for validation. The accuracy above is the
# last epoch's on the test images, which played no other part.

# %% tags=["remove-input"]
figures.show(*figures.history(record))

# %% [markdown]
# ## Density by layer
#
# The share of each layer's weights that is active, before the first step and after the last. Static, SET and
# RigL move connections within a layer and never from one to another, so both bars are then alike. SNFS,
# RigL-SG and RigL-SM move them between layers too, and pruning starts from a dense network.

# %% tags=["remove-input"]
figures.show(*figures.densities(record))

# %% [markdown]
# ## Cost
#
# FLOPs of one sample against the dense network of full width: a forward pass by the final mask, and a step of
# training averaged over the run, longer training included. Two for every multiply-add of a convolution or
# linear layer, times its density; nothing else counts. A lottery ticket's training includes its
# pruning run; a re-initialised run's does not include the run that its masks are from.

# %% tags=["remove-input"]
figures.show(*figures.flops(record))

# %% tags=["remove-input"]
if drawn := figures.cost_over_time(record):
    figures.show(*drawn)
