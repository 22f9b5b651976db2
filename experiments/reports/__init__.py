"""Makes what a person looks at: plots of a run and its HTML reports.

This room holds plots and panels of a run (`plots`), and the reports of train,
evaluate and audit (`pages`). Reports consist of sections that know what a run
holds (`sections`), of blocks that know nothing of runs (`blocks`), and of one
script and style sheet (`script`).
"""
