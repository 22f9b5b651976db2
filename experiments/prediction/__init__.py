"""Applies the networks of a finished run to image files of any origin.

`predictor` loads the networks and applies them to tiles: images of the size
that they were trained on. `pictures` cuts image files into tiles, and merges
the predictions for the tiles. `whole_volumes` predicts the files of runs on
whole volumes, in windows (`volume_windows`), and `volume_needs` states what
that takes. `input_files` finds the files to predict, and `file_by_file`
predicts all of them.
`network_flags` defines the flags that choose the networks.
"""
