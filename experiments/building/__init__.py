"""Builds the parts of a run from a config and a prepared set.

This room turns records into batches (`input_pipeline`). Corrected labels may
replace the weak ones (`corrections`), an audit may give the first indicators
(`retraining`), and cached features may replace the frozen part of a network
(`feature_cache`). ImageNet weights are read from files (`pretrained`,
`imagenet_package`, `torch_file`). `parts` reads config and set and returns the
network and the train step, after `config_checks` has refused values that no run
can be trained with.
"""
