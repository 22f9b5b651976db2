"""Turns the results of many runs into tables, comparisons and plans.

This package defines the runs and sets of a sweep; reads scores per case and
pairs those of several results; computes differences between methods, with
intervals over subjects and seeds; and plans which annotations to add. To train
runs, it calls `experiments.training`. It makes no pictures and no HTML reports.
"""
