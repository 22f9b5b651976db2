"""Trains a run, from its first step to its report.

This room holds how a session opens the folder of a run and resumes it
(`opening`), the training loop (`trainer`), with a pass that moves indicators
(`indicator_pass`) and the handling of stop signals (`stopping`), and the
results (`finishing`). It also holds the correction of weak labels between two
trainings (`refining`, `calibration`), the repetition of a finished run
(`reproduce`), and the summary at the end (`closing_words`).
"""
