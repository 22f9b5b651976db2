"""Whole sets: those with a name, and anyone's own files.

What lives here: one module for each set with a name (`phantom`, `endoscene`,
`acdc`) and their list (`named_sets`); a user's own files (`own_set`,
`source_flags`) and what is left out of them (`leaving_out`); and what is said
of a set that is made (`summary`, `closing`).
"""
