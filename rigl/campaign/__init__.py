"""Many runs: what a table takes, what of it is done, and a runner that gets through the rest.

`status` says what is on disk and what is left, `work` does one run in one process, `runner` gives runs to
worker processes; ``python -m rigl.campaign`` does all that.
"""
