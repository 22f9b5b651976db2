"""Applies the networks of a finished run to images from anywhere.

This room holds the networks, loaded and ready for tiles (`predictor`); the
cutting of image files into tiles, and the merging of their predictions
(`pictures`); the prediction of a folder, one file after the other
(`file_by_file`); and the flags that choose networks (`network_flags`).
"""
