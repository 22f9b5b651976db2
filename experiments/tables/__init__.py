"""Turns the results of many runs into tables, comparisons and plans.

This package defines the runs and sets of a sweep; reads scores per case, and
pairs the scores of several results by case; computes differences between
methods, with intervals over subjects and seeds; and plans which annotations to
add. To train runs, it calls `experiments.training`. HTML reports are made
elsewhere, by `experiments.reports`.
"""
