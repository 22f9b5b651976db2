"""What is trained: a config for each set, with its methods and networks.

What lives here: the base config with its variants, one module per set, the
tables of sweeps (`tables`), and what stored configs of older versions mean
(`versions`).
"""
