"""Checks a set in one pass before anything is written.

It holds the check of the whole set (`check`), of one row, its annotation and
one shape (`check_row`, `check_annotation`, `check_shape`), of pictures in two
splits that are the same or nearly so (`check_copies`, `duplicates`), of
subjects who may be one person (`subject_names`, `volume_pairs`), and the report
(`check_report`).
"""
