"""Configures trainings: one module for each set, with methods and networks.

`common` holds the default config and its variants, `tables` the tables of
sweeps, and `versions` upgrades stored configs of older versions.
"""
