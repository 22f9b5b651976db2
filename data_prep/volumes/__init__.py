"""Keeps volumes whole: turns, resamples and maps them, and plans their patches.

All functions work on arrays or on voxels that are read block by block. None of
them reads a file format; the readers of `data_prep.formats` return the volumes.
"""
