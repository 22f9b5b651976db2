"""The networks of a finished run at work, on pictures from anywhere.

What lives here: the networks, loaded and ready for tiles (`predictor`), any
file of pictures cut into tiles and put together again (`pictures`), a folder
of files from one to the next (`file_by_file`), and the flags that choose
networks (`network_flags`).
"""
