"""Which weak annotations of a finished run are to be drawn again first.

What lives here: a run that is asked about images (`observer`), what it knows
of every annotation (`evidence`), from signs of a fault (`signs`), planted
faults to learn them from (`planting`) and reasons in words (`reasons`); the
ranked list (`ranking`), and what an audit leaves (`files`, `report`).
"""
