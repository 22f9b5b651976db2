"""Finds the weak annotations of a finished run that should be redrawn first.

`observer` applies the networks of the run to images. `evidence` collects what
they show about each annotation: numbers that may be signs of a fault (`signs`),
and a reason in words (`reasons`). `planting` draws annotations with known
faults and learns from them which signs point to a fault. `ranking` turns the
evidence into a ranked list. `files` and `report` write the results.
`volume_audit` ranks the annotations of whole volumes by another, simpler score.
"""
