"""What data_prep and experiments both build on; it imports neither of them.

It holds files that are written whole or not at all (`whole_file`), names that
must not leave their folder (`confined`), pictures as pixels (`pixels`), cells
of CSV files (`cells`), the pieces of HTML pages (`html_page`, `html_plots`),
shapes around an object (`geometry`), progress lines (`progress`), numbers in
sentences (`grammar`) and explanations of system errors (`system_errors`).
"""
