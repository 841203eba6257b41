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
# `python -m rigl.campaign` trains the report's runs, each as a task of [Dask](https://distributed.dask.org): on one machine
# with `--workers`, on many with `--cluster`.
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
# to do. One process per job, with one GPU, is simplest:
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
# Run this on a machine that may submit jobs. A job that reaches its `walltime` is a lost worker like any other: another
# job is submitted, and its run resumes. The campaign itself has to stay up, for example in `tmux`; if it stops, rerun the
# command.
#
# ## What the report takes
#
# {doc}`cost` estimates the hours that the whole report takes on one device, from its measured speed. Runs are independent,
# except for lottery tickets and re-initialised networks, which start from another run's masks: $n$ devices take about
# an $n$th of that time.
