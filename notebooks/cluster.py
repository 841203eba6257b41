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
# # On a cluster
#
# `python -m rigl.campaign` gets through the report's runs, each of which is a task of
# [Dask](https://distributed.dask.org): on one machine with `--workers`, on many with `--cluster`.
#
# ```bash
# pip install -e ".[campaign]"
# ```
#
# Order, bars, exit status and `--time-limit` are the same everywhere, and campaigns on one folder of results share
# the work. If a worker is lost, its run resumes on another from its last checkpoint; if the campaign is killed, rerun
# the same command. **All machines need one folder of results**, under the same path: a run on a worker that does not
# see it fails with a line that says so, and ends the campaign.
#
# ## Several GPUs of one machine
#
# ```bash
# python -m rigl.campaign run table2 --protocol paper --workers 4 --device cuda
# ```
#
# starts four processes, each with a GPU of its own; `--device cuda:0,cuda:2` names which. With `--lanes 3` each trains
# three runs at a time, as threads that share its GPU: a WRN-22-2 leaves most of a large one idle. On CPUs, workers and
# lanes share the cores out.
#
# ## A scheduler
#
# Start it and its workers with Dask's own commands, where this package is installed, and name its address:
#
# ```bash
# dask scheduler                                                                      # on one machine
# CUDA_VISIBLE_DEVICES=0 dask worker tcp://HOST:8786 --nthreads 1 --resources GPU=1   # for each GPU of each
# python -m rigl.campaign run table2 --protocol paper --device cuda --cluster tcp://HOST:8786
# ```
#
# A run on the device `cuda` goes only to workers that say they have a GPU, one at a time to each; with
# `--nthreads 3`, and `--lanes 3` for the campaign, three at a time. On CPUs, a worker trains as many runs at a time as
# it has threads. Data sets are looked for in each worker's `RIGL_DATA`.
#
# ## Slurm
#
# `slurm.yaml` holds the arguments of
# [dask_jobqueue.SLURMCluster](https://jobqueue.dask.org/en/latest/generated/dask_jobqueue.SLURMCluster.html), and how
# many jobs there are to be: `jobs: 8`, or `adapt: {minimum_jobs: 0, maximum_jobs: 64}` for as many as there are runs
# to do. One process a job, with one GPU, is simplest:
#
# ```yaml
# adapt: {minimum_jobs: 0, maximum_jobs: 64}
# queue: gpu
# cores: 4
# processes: 1
# memory: 16GB
# walltime: "12:00:00"
# job_extra_directives: ["--gres=gpu:1"]
# worker_extra_args: ["--resources", "GPU=1"]
# job_script_prologue: ["export RIGL_DATA=/scratch/rigl"]
# ```
#
# ```bash
# python -m rigl.campaign run all --protocol paper --device cuda --cluster slurm.yaml
# ```
#
# on a machine that may send jobs. A job at the end of its `walltime` is a lost worker like any other: another job is
# sent, and its run resumes. The campaign itself has to stay up, in `tmux`, say; if it does not, rerun the command.
#
# ## What the report takes, on paper
#
# What follows is computed from measured speeds, not timed.
#
# A mask saves a GPU nothing in wall time, so a run costs what dense training costs: three times the forward pass's
# $f_d$ FLOPs for each of the $N$ images of each of its $E$ epochs. A device that trains the benchmark's model, of
# $f_b$ FLOPs a forward pass, at $r$ images a second does $3 f_b r$ FLOPs a second, and takes
#
# $$t = \frac{3 f_d N E}{3 f_b r} + t_\text{data} + t_\text{task},$$ (eq-cluster-time)
#
# with the seconds that loading the data and giving out a task were measured to take. Other models than the
# benchmark's may well be faster or slower for their FLOPs. A small dense network is counted by its share of the
# weights.

# %% tags=["remove-input"]
from book.report import cluster, results

results.show_table(cluster.costs(), "What a run of the protocol “paper” costs, from the layers' shapes.")

# %% [markdown]
# On several devices, each that is free takes the first run that can be begun. A lottery ticket waits for its pruning
# run and a re-initialised RigL for its RigL-SM; a run three times as long is one run. In a hyperparameter study a
# trial waits for the one before, whose result the sampler needs. No number of devices gets below the longest such
# chain; and the campaign's order is made for tables that can be read early, not for the earliest end.

# %% tags=["remove-input"]
measured = cluster.benchmarks()
if not any(map(cluster.is_gpu, measured)):
    results.show_text(
        "**No GPU has been measured yet.** `python -m benchmarks` there stores the record that is missing. Until then "
        "the figures below are for CPUs like the one that was: read them as FLOPs made tangible, not as advice."
    )
for benchmark in measured:
    results.show_table(
        cluster.estimate(benchmark),
        f"Hours on 1, 8 and 64 of: {benchmark['device']}, {benchmark['precision']}, "
        f"at the {cluster.rate(benchmark):.1e} FLOPs a second that it trains {benchmark['model']} with "
        f"({benchmark['images_per_second']['dense']:,.0f} images a second). Three seeds.",
    )
    results.show_text(cluster.verdict(benchmark))
