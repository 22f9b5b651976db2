"""From a config and a prepared set to what a run is put together from.

What lives here: records as batches (`input_pipeline`), what may take the place
of their labels (`corrections`), of the first indicators (`retraining`) or of
the frozen part of a network (`feature_cache`); weights of ImageNet
(`pretrained`, `imagenet_package`, `torch_file`); and the place that reads
config and set and returns network and train step (`parts`), after it has
refused what no run can be trained with (`config_checks`).
"""
