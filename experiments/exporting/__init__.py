"""Exports the networks of a finished run for use without this library.

`artefacts` writes the networks as files that other programs can load, and
checks that they predict the same as the original networks. `model_card` writes
a page that states what the networks were trained on, how good they are and
where they fail.
"""
