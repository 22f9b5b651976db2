"""Tests that take minutes to hours, which `.ci/long` runs one by one.

They stop runs at random moments, damage their checkpoints and folders, and
inject bad numbers. `tiny_runs` trains the runs, and `poison` holds the numbers.
"""
