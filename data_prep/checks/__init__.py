"""Checks a set in one pass before any record is written.

The package checks the whole set (`check`), each row, its annotation and each
shape (`check_row`, `check_annotation`, `check_shape`). It finds identical and
nearly identical pictures in two splits (`check_copies`, `duplicates`, and
`pivots` if they are many), odd names (`check_names`, `neighbours`), and
subjects who may be one person (`subject_names`, `volume_pairs`). `value_counts`
counts the values of masks, and `check_report` turns the findings into lines for
the user.
"""
