"""What is wrong with a set, said in one pass before anything is written.

What lives here: the whole set (`check`), one row, its annotation and one shape
(`check_row`, `check_annotation`, `check_shape`); pictures in two splits that
are the same or nearly so (`check_copies`, `duplicates`); subjects who may be
one person (`subject_names`, `volume_pairs`); and the report (`check_report`).
"""
