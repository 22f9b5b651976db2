"""What data_prep and experiments both stand on; it imports nothing of theirs.

What lives here: files written whole or not at all (`whole_file`) and names that
may not leave their folder (`confined`); pictures as pixels (`pixels`); cells of
CSV files (`cells`); the pieces of HTML pages (`html_page`, `html_plots`);
shapes around an object (`geometry`); progress (`progress`), numbers in
sentences (`grammar`) and the system's errors in words (`system_errors`).
"""
