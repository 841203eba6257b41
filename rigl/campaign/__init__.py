"""Many runs: the report's tables and figures, and a runner that trains them.

`experiments` lists the runs of each table, `status` reports which are done, `runner` trains the rest,
`tuning` searches alpha and delta_t. ``python -m rigl.campaign`` is the command line of all of them.
"""
