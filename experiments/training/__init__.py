"""A run from its first step to its report.

What lives here: the loop, which resumes, evaluates and saves (`trainer`), with
a pass that moves indicators (`indicator_pass`) and a way to stop (`stopping`);
the correction of weak labels between two runs (`refining`, `calibration`); a
finished run once more (`reproduce`); and the words at the end
(`closing_words`).
"""
