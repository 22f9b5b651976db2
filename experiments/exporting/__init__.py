"""A finished run for use without this library.

What lives here: its networks as files that other programs load, checked
against the live ones (`artefacts`), and the card that says what they were
trained on, how good they are and where they fail (`model_card`).
"""
