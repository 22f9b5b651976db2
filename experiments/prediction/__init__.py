"""Applies the networks of a finished run to image files of any origin.

`predictor` loads the networks and applies them to tiles: images of the size
that they were trained on. `pictures` cuts image files into tiles, and merges
the predictions for the tiles. `file_by_file` predicts all files of a folder.
`network_flags` defines the flags that choose the networks.
"""
