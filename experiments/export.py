r"""Exports a run for use without this library.

python -m experiments.export --run=runs/mine --output=model

Leaves, if all of it was checked against the live networks,

  OUT/model.stablehlo      loaded by jax alone: `jax.export.deserialize(bytes)
                           .call(images)`; CPU, GPU and TPU
  OUT/model.onnx           the same for ONNX Runtime, where jax2onnx and
                           onnxruntime are installed (pip install '.[onnx]')
  OUT/weights.safetensors  the parameters of both networks
  OUT/model.json           shapes, class names, how pictures were prepared
  OUT/MODEL_CARD.md        data, metrics with intervals, intended use, limits

Model: uint8 images [B, H, W, C] of the size of the records, any B -> labels,
uint8 [B, H, W], and probabilities, float32 [B, H, W, K]. The scaling of
intensities and the mean of both networks are inside; resizing a picture to H x
W is not (area average down, bilinear up: `data_prep.rasterize.resize_image`).
"""

from absl import flags
from absl import logging

from experiments import artefacts
from experiments import binary
from experiments import predictor as predictor_lib

_RUN = flags.DEFINE_string('run', None, 'Folder of a run.')
_OUTPUT = flags.DEFINE_string('output', None, 'Folder to write; new.')
_CHECKPOINT = flags.DEFINE_enum(
    'checkpoint', 'latest', ('latest', 'best'),
    'The newest one, or the best on the validation split.')
_NETWORK = flags.DEFINE_enum(
    'network', 'mean', sorted(predictor_lib.NETWORKS),
    'Which of the two networks, or the mean of both.')
_FLIP = flags.DEFINE_bool(
    'flip', False, 'Average over four flips of each image.')


def main():
  logging.set_verbosity(logging.WARNING)
  predictor = predictor_lib.load(
      _RUN.value, checkpoint=_CHECKPOINT.value, network=_NETWORK.value,
      flip=_FLIP.value)
  for line in artefacts.write(predictor, _RUN.value, _OUTPUT.value):
    print(line)


if __name__ == '__main__':
  flags.mark_flags_as_required(['run', 'output'])
  binary.run(main)
