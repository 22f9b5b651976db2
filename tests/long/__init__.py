"""Tests that take minutes to hours, which `.ci/long` runs one by one.

They stop runs at random moments, damage their checkpoints and folders, inject
bad numbers, read damaged sets, and split random sets. `tiny_runs` trains the
runs, and `poison` holds the numbers.
"""
