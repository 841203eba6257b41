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
# This notebook trains one network, sparse or dense, and shows the results. Every option is a parameter: change the
# cell below, or pass values to papermill,
#
# ```
# papermill notebooks/train.ipynb OUT.ipynb -p method rigl -p density 0.1
# ```
#
# and `papermill --help-notebook notebooks/train.ipynb` lists them all. `None` means the protocol's default. A run
# with a record in `results/` is not trained again, and an interrupted run resumes from its last epoch.
#
# The methods are `dense`, `small-dense`, `static`, `set`, `snfs`, `rigl`, `rigl-sg`, `rigl-sm`, `rigl-struct`,
# `rigl-global`, `granet`, `mest`, `pruning`, `lottery` and `rigl-reinit`. The last two start from the final masks of
# a `pruning` and a `rigl-sm` run with the same settings, which is trained first if necessary. If `distribution` is the
# name of a record, its final layer densities are used.

# %% tags=["remove-cell"]
from book.report import figures
from rigl import train
from rigl.training import notebook

before = set(globals())

# %% tags=["parameters"]
method: str = "rigl"  # static, set, snfs, rigl, pruning, ...: see above
density: float = 0.1  # active weights over all weights, above 0 and at most 1
distribution: str = "erk"  # how layers share the density: uniform, er, erk, erk-flops or a record
flops: float = None  # a budget instead of density: forward FLOPs relative to dense, at most 1
dataset: str = None  # digits, fashion-mnist, cifar10 or cifar100; default: the protocol's
model: str = None  # lenet-300-100, resnet-50 or wrn-D-K; default: the protocol's
protocol: str = "auto"  # paper, tenth, laptop, smoke; auto chooses by device and dataset
multiplier: int = 1  # how many times longer to train: 1, 2, 3, ...
epochs: int = None  # epochs before the multiplier; default: the protocol's
validation: int = None  # number of training images held out; default: the protocol's; 0 trains on all
augmentation: str = None  # none, flip, crop-flip or resized-crop-flip; default: the protocol's
learning_rate: float = None  # initial learning rate; default: the protocol's
alpha: float = 0.3  # fraction of active weights that the first update drops
decay: str = "cosine"  # how that share falls: cosine, linear, constant or inverse-power
delta_t: int = 100  # steps between mask updates
t_end: float = 0.75  # fraction of the steps after which masks are fixed
seed: int = 0  # seed of the initial weights, the masks and the order of images
preset: str = "repro2021"  # rules in which published codes differ: repro2021 or google
device: str = "auto"  # auto, cpu, cuda or one of several GPUs such as cuda:1
precision: str = "auto"  # auto, float32 or bf16
execution: str = "masked"  # of linear layers on a CPU: masked, sparse or auto (sparse where it is faster)
results: str = "results"  # folder of the run records, relative to the project's folder
tracker: str = None  # tensorboard or wandb: log the run under results/.logs

# %% tags=["remove-input"]
config, options = notebook.configure(globals(), before)

# %% tags=["remove-output"]
record = train(config, **options)

# %% tags=["remove-input"]
print(notebook.summary(record, options["results"]))

# %% [markdown]
# ## Loss and accuracy
#
# After every epoch, on the training images and on those held out for validation. The accuracy above is that of the
# last epoch on the test images, which are used for nothing else.

# %% tags=["remove-input"]
figures.show(*figures.history(record))

# %% [markdown]
# ## Density by layer
#
# The fraction of active weights in each layer, before the first step and after the last. Static, SET and RigL keep
# the number of connections of every layer, so both bars are equal. SNFS, RigL-SG and RigL-SM also move connections
# between layers, and pruning starts from a dense network.

# %% tags=["remove-input"]
figures.show(*figures.densities(record))

# %% [markdown]
# ## Cost
#
# FLOPs of one sample relative to the dense network of full width: of a forward pass with the final masks, and of a
# training step averaged over the run, times the multiplier. Each multiply-add of a convolution or linear layer counts
# as two, times the layer's density; other operations are not counted. The training of a lottery ticket includes its
# pruning run; that of a re-initialised run does not include the run that its masks come from.

# %% tags=["remove-input"]
figures.show(*figures.flops(record))

# %% tags=["remove-input"]
if drawn := figures.cost_over_time(record):
    figures.show(*drawn)
