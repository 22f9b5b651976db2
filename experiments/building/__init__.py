"""Builds the parts of a run from a config and a prepared set.

This package turns records into batches (`input_pipeline`). Corrected labels may
replace the weak ones (`corrections`), an audit may provide the first indicators
(`retraining`), and cached features may replace the frozen part of a network
(`feature_cache`). ImageNet weights are read from files (`pretrained`,
`imagenet_package`, `torch_file`). `parts` reads the config and the set and
returns the networks and the training step, after `config_checks` has refused
values with which no run can be trained.
"""
