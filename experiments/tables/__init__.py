"""Turns the results of many runs into tables, differences and plans.

This room holds the cells of a sweep and its sets, the reading and pairing of
scores per case, the statistics of differences between methods over subjects and
seeds, and the plan of which annotations to add. Where a table needs runs, it
trains them through `training`. It knows nothing of pictures and reports.
"""
