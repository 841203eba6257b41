"""Benchmarks of training, as ratios measured side by side in one run.

Every round takes one step of each variant in turn, so that other load of the machine affects all of them
alike. A ratio is the median over rounds, with the quartiles as its spread.
"""
