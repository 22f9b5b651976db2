"""What a run leaves in its folder, and goes on from.

What lives here: who may write the folder, and what runs there (`run_folder`);
what its files hold, however they were edited (`run_schema`); its log
(`run_log`); checkpoints that prove themselves (`checkpoints`,
`checkpoint_files`); the code and the machine of each session (`session`,
`switches`); and what may change when a run is resumed (`resuming`).
"""
