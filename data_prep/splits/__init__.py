"""Chooses the split of each image, and which images keep their exact masks.

The package assigns images to splits without dividing a subject (`splits`), or
takes the splits that a source's folders name (`dividing`). It chooses the
images that keep exact masks (`strong_choice`), explains why a set cannot be
split (`split_refusals`), and reads the CSV files in which users name splits and
subjects (`splits_file`, `subjects_file`, `csv_lines`).
"""
