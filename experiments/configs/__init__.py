"""Configs of trainings: one for each set, with its methods and networks.

This room holds the base config with its variants (`common`), one module per
set, the tables of sweeps (`tables`), and the upgrade of stored configs of older
versions (`versions`).
"""
