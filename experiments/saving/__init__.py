"""Writes the folder of a run, and reads it when the run is resumed.

`run_folder` opens, locks and describes the folder, and `run_schema` checks its
files, which may have been edited. `run_log` writes the log, and
`indicator_history` the indicators at each evaluation. `checkpoints` and
`checkpoint_files` write checkpoints and verify them. `session` and `switches`
record the code and the machine of each session. `resuming` holds the rules for
what may change when a run is resumed.
"""
