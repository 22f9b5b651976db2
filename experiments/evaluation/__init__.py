"""Measures how good predicted masks are: scores per case, and their means.

`scoring` computes the metrics that `metric_table` lists. `finished_run`
evaluates a run at the resolution of the original images. `mask_folders`
compares a folder of masks with a folder of references.
"""
