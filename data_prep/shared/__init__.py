"""Modules that data_prep and experiments share, and that import from neither.

They cover files that are written whole or not at all (`whole_file`), paths that
must not leave their folder (`confined`), help without slow imports
(`early_help`), reading pictures safely (`pixels`), bytes kept in a temporary
file (`scratch`), cells of CSV files (`cells`), the pieces of HTML pages
(`html_page`, `html_plots`), shapes around an object (`geometry`), progress
lines (`progress`), numbers in sentences (`grammar`) and explanations of system
errors (`system_errors`).
"""
