r"""Exports the networks of a run for use without this library.

python -m experiments.export --run=runs/mine --output=model

Checks the exported model against the live networks, and then writes

  OUT/model.stablehlo      loaded by jax alone: `jax.export.deserialize(bytes)
                           .call(images)`; CPU, GPU and TPU
  OUT/model.onnx           the same for ONNX Runtime, if jax2onnx and
                           onnxruntime are installed: docs/install.md
  OUT/weights.safetensors  the parameters of both networks
  OUT/model.json           shapes, class names, how the images were prepared
  OUT/MODEL_CARD.md        data, metrics with intervals, intended use, limits

The model takes images of the size of the records, uint8 [B, H, W, C] with any
batch size B. It returns labels, uint8 [B, H, W], and probabilities, float32
[B, H, W, K]. It scales intensities and averages both networks, but does not
resize: resize images to H x W first, by area averages to shrink them and
bilinearly to enlarge them, as `data_prep.drawing.rasterize.resize_image` does.
"""

from absl import flags
from data_prep.shared import early_help

from experiments.prediction import network_flags

flags.adopt_module_key_flags(network_flags)  # Makes --help list them, too.
_OUTPUT = flags.DEFINE_string('output', None, 'New folder to write.')

early_help.answer(__name__)  # Answer --help before the slow imports.

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
