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
# `python -m rigl.campaign` gets through the report on one machine. With `--cluster` it does so on as many as there
# are, on [Dask](https://distributed.dask.org), which this needs beside the rest:
#
# ```bash
# pip install -e ".[cluster]"
# ```
#
# A task is one run. Order, bars, journal, exit status and `--time-limit` are those of a campaign on one machine, and
# campaigns on one folder of results share the work. A run whose worker is lost begins on another: from its last
# checkpoint where the workers share a file system with the campaign, else anew. So does one whose campaign was
# killed, by the same command.
#
# ## Several GPUs of one machine
#
# ```bash
# python -m rigl.campaign run table2 --protocol paper --cluster local:4 --device cuda
# ```
#
# starts four processes, each with a GPU of its own; `--device cuda:0,cuda:2` names which. On CPUs, `local:4` shares
# the cores out.
#
# ## A scheduler that is there
#
# Start it and its workers with Dask's own commands, where this package is installed, and name its address:
#
# ```bash
# dask scheduler                                                                      # on one machine
# CUDA_VISIBLE_DEVICES=0 dask worker tcp://HOST:8786 --nthreads 4 --resources GPU=1   # for each GPU of each
# python -m rigl.campaign run table2 --protocol paper --device cuda --cluster tcp://HOST:8786
# ```
#
# A run on the device `cuda` goes only to workers that say they have a GPU, one at a time to each. A worker trains
# with as many CPU threads as its `--nthreads`. Data sets are looked for in each worker's `RIGL_DATA`.
#
# A worker that sees the campaign's folder of results under the same path, or under the one that its `RIGL_RESULTS`
# names, writes there itself. Any other keeps what it is at in a folder of its own: records and masks are sent to the
# campaign as a run ends, masks that a run starts from are sent along with it, and checkpoints come back from runs
# that are stopped. At the time limit, or at a second Ctrl-C, the campaign ends at once, and a run on such a worker
# after the epoch that it is in.
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
# sent, and its run goes on. The campaign itself has to stay up, in `tmux`, say; if it does not, the same command
# goes on.
#
# ## What the report takes
#
# {doc}`cost` has the hours of the whole report on one device, by its measured speed. Runs do not wait for one another,
# but for lottery tickets and re-initialised networks, which start from another run's masks: $n$ devices take about an
# $n$th of that time.
