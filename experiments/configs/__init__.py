"""Configures runs: one module for each set, with its methods and networks.

`common` holds the default config and its variants, `tables` the tables of
sweeps, and `versions` upgrades stored configs of older versions.
"""
