"""Trains a run, from its first step to its report.

`opening` opens the folder of a run and resumes it. `trainer` is the training
loop; it uses `indicator_pass` to move the indicators of all images at once, and
`stopping` to handle stop signals. `finishing` evaluates the run, and
`closing_words` prints the summary, with the seconds of each part from `spent`.
`refining` and `calibration` correct the weak labels of a first run for a second
one. `reproduce` repeats a finished run.
"""
