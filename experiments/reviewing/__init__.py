"""Shows the suspects of an audit to a person, and keeps the decisions.

`suspects` reads the list of the audit, and computes what the page shows: the
picture, the annotation, the predictions of both networks and the alignment map.
`decisions` checks what the page sends, and writes masks and the journal.
`returned` reads the decisions that a static page offers as a file.
`server` answers the page's requests, to this machine only. `page` builds the
page from the files below `page/`, for the server or as one static file.
"""
