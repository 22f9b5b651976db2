"""Writes the folder of a run, and reads it when the run is resumed.

This room holds the access to the folder (`run_folder`); checks of its files,
which may have been edited (`run_schema`); the log (`run_log`); checkpoints that
are verified (`checkpoints`, `checkpoint_files`); the record of the code and the
machine of each session (`session`, `switches`); and the rules for what may
change when a run is resumed (`resuming`).
"""
