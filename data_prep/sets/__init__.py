"""Makes sets from named sources or from a user's own files, and describes them.

The package has a module for each named set (`phantom`, `endoscene`, `acdc`) and
a list of the named sets (`named_sets`). It turns a user's own files into a set
(`own_set`, `source_flags`), leaves out some of the files on request
(`leaving_out`), and describes a finished set (`summary`, `closing`).
"""
