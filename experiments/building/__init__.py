"""Builds the parts of a run from a config and a prepared set.

This package turns records into batches (`input_pipeline`). Corrected labels may
replace the weak ones (`corrections`), an audit may provide the first indicators
(`retraining`), and cached features may replace the frozen part of a network
(`feature_cache`). ImageNet weights are read from files (`pretrained`,
`imagenet_package`, `torch_file`), and random ones are drawn by a program that
compiles fast (`flat_draws`). `config_checks` refuses values with which no run
can be trained. `pieces` divides the config into pieces, from which `parts`
builds the networks and the training step. All other modules see only the pieces
that they need.
"""
