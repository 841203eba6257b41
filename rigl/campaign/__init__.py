"""Many runs: what a table takes, what of it is done, and a runner that gets through the rest.

`plan` says what is on disk and what is left, `clock` how long that takes, `work` does one run in one
process, `runner` gives runs to worker processes, `store` exports and verifies; ``python -m rigl.campaign``
does all that.
"""
