"""How fast training is here, as ratios measured side by side in one run.

Every round takes one step of each variant in turn, so that whatever else the machine does hits all alike;
a ratio is the median over rounds, with the rounds' quartiles as its spread.
"""
