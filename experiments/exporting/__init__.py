"""Exports a finished run for use without this library.

This room writes the networks as files that other programs load, after a check
against the live networks (`artefacts`). It also writes the model card, which
states what they were trained on, how good they are and where they fail
(`model_card`).
"""
