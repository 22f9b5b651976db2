"""Finds the weak annotations of a finished run that should be redrawn first.

This room holds the run's networks, applied to images (`observer`), and the
evidence on every annotation (`evidence`). The evidence consists of signs of a
fault (`signs`), planted faults from which their meaning is learnt (`planting`),
and reasons in words (`reasons`). The room also holds the ranked list
(`ranking`), and the files of an audit (`files`, `report`).
"""
