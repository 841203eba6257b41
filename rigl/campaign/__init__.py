"""Many runs: what a table takes, what of it is done, and a runner that gets through the rest.

`experiments` holds the report's tables and figures, `status` says what of them is on disk and what is left,
`runner` trains the rest, `tuning` searches alpha and delta_t; ``python -m rigl.campaign`` does all that.
"""
