"""Makes whole sets: those with a name, and anyone's own files.

It holds one module for each named set (`phantom`, `endoscene`, `acdc`) and
their list (`named_sets`), a user's own files (`own_set`, `source_flags`) and
what is left out of them (`leaving_out`), and reports about a finished set
(`summary`, `closing`).
"""
