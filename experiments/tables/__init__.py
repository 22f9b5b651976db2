"""From the results of many runs to tables, differences and plans.

What lives here: the cells of a sweep and its sets, the reading and pairing of
scores per case, what differences between methods mean over subjects and seeds,
and the plan of which annotations to add. Trains by `training`, where a table
needs runs, and knows nothing of pictures and reports.
"""
