"""Chooses which images train, validate and test, and which stay exact.

It holds splits that divide no subject (`splits`), drawn or as the folders name
them (`dividing`), the choice of exact masks (`strong_choice`), the reasons why
a set cannot be split (`split_refusals`), and the CSV files that users write
about both (`splits_file`, `subjects_file`, `csv_lines`).
"""
