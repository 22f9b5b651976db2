"""Makes sets from named sources or from a user's own files, and describes them.

The package has a module for each named set (`phantom`, `endoscene`, `acdc`) and
the list of these (`named_sets`). It turns a user's own files into a set
(`own_set`, `source_flags`), leaves out parts of them on request
(`leaving_out`), and describes a finished set (`summary`, `closing`).
"""
