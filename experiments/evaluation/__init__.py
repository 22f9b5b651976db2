"""Measures how good predicted masks are: scores per case, and their means.

`scoring` computes the metrics that `metric_table` lists, and `indicator_table`
says how well the indicators find planted faults. `volume_evaluation` predicts
and scores whole volumes while a run trains, and at its end. `finished_run`
evaluates a run at the resolution of the original images. `mask_folders`
compares a folder of masks with a folder of references.
"""
