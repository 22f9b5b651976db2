"""Which images train, validate and test, and which keep their exact mask.

What lives here: splits that part no subject (`splits`), drawn or as the folders
name them (`dividing`), the choice of exact masks (`strong_choice`), why a set
cannot be split (`split_refusals`), and the CSV files that users write about
both (`splits_file`, `subjects_file`, `csv_lines`).
"""
