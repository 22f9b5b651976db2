"""Damages small sets of every format, to see what the readers make of them.

`fuzz_test` damages some files; `python -m tests.long.fuzz` as many as wanted.
"""
