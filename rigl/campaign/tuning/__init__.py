"""A search for alpha and Delta-T with Optuna: TPE over the report's space, each trial a few ordinary runs.

`request` says what is searched, `store` holds a study and shares it among processes, `work` gets through its
trials, `view` says how far it is; ``python -m rigl.campaign.tuning`` does all that. A study as plain data is
in `rigl.campaign.studies`.
"""
