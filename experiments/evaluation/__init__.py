"""Measures how good masks are: scores per case, their means, and tables.

This room holds the scores of predictions (`scoring`) by the metrics of one
table (`metric_table`), the evaluation of a finished run at the resolution of
the original images (`finished_run`), and the evaluation of any folder of masks
against another (`mask_folders`).
"""
