"""How good masks are: scores per case, their means, and tables of both.

What lives here: what is counted and reported of predictions (`scoring`), the
evaluation of a finished run at the resolution of the original pictures
(`finished_run`), and that of any folder of masks against another
(`mask_folders`).
"""
