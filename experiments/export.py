r"""Exports a run for use without this library.

python -m experiments.export --run=runs/mine --output=model

Leaves, if all of it was checked against the live networks,

  OUT/model.stablehlo      loaded by jax alone: `jax.export.deserialize(bytes)
                           .call(images)`; CPU, GPU and TPU
  OUT/model.onnx           the same for ONNX Runtime, where jax2onnx and
                           onnxruntime are installed: docs/install.md
  OUT/weights.safetensors  the parameters of both networks
  OUT/model.json           shapes, class names, how pictures were prepared
  OUT/MODEL_CARD.md        data, metrics with intervals, intended use, limits

Model: uint8 images [B, H, W, C] of the size of the records, any B -> labels,
uint8 [B, H, W], and probabilities, float32 [B, H, W, K]. The scaling of
intensities and the mean of both networks are inside; resizing a picture to H x
W is not (area average down, bilinear up: `resize_image` of
`data_prep.drawing.rasterize`).
"""

from absl import flags
from data_prep.shared import early_help

from experiments.prediction import network_flags

flags.adopt_module_key_flags(network_flags)  # For --help.
_OUTPUT = flags.DEFINE_string('output', None, 'Folder to write; new.')

early_help.answer(__name__)  # Above what is slow to import.

from absl import logging

from experiments import binary
from experiments.exporting import artefacts


def main():
  logging.set_verbosity(logging.WARNING)
  for line in artefacts.write(
      network_flags.load(), network_flags.run(), _OUTPUT.value):
    print(line)


if __name__ == '__main__':
  flags.mark_flags_as_required(['output'])
  binary.run(main)
