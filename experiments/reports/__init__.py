"""Makes the plots of a run, and the HTML reports of train, evaluate and audit.

`plots` draws the plots and the panel of example images of a run. `pages` writes
the reports, from sections about runs (`sections`), from blocks that are
independent of runs, such as tables (`blocks`), and with one script and style
sheet (`script`).
"""
