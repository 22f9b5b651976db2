"""What a person looks at: pictures of a run and its HTML reports.

What lives here: plots and panels of a run (`plots`), and the reports of train,
evaluate and audit (`pages`), which are made of sections that know what a run
holds (`sections`), of blocks that know nothing of runs (`blocks`), and of one
script and style (`script`).
"""
