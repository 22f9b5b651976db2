"""Exports the networks of a run to StableHLO, ONNX and safetensors files."""

from collections.abc import Callable
import importlib.util
import logging as python_logging
import os
import pathlib

from data_prep.shared import grammar
from data_prep.shared import system_errors
from data_prep.shared import whole_file
from hybridseg.models import depthwise
import jax
from jax import export as jax_export
import jax.numpy as jnp
import numpy as np
from safetensors import numpy as safetensors_numpy

from experiments import binary
from experiments.exporting import model_card
from experiments.prediction import predictor as predictor_lib
from experiments.saving import run_folder

_PLATFORMS = ('cpu', 'cuda', 'tpu')
# Tolerances of the ONNX model, since ONNX Runtime may add numbers in another
# order: the largest difference of a probability, and the largest share of
# pixels with another label (pixels whose two best classes are nearly equal).
_MAX_PROBABILITY_ERROR = 1e-4
_MAX_LABEL_SHARE = 1e-3


def model_fn(
    predictor: predictor_lib.Predictor,
) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
  """Returns the networks as a pure function of images, uint8 [B, H, W, C].

  The function returns labels, uint8 [B, H, W], and class probabilities, float
  [B, H, W, K].
  """

  def model(images):
    probabilities = predictor.predict_fn(predictor.params, images).probabilities
    labels = jnp.argmax(probabilities, axis=-1).astype(jnp.uint8)
    return labels, probabilities

  return model


def to_stablehlo(predictor: predictor_lib.Predictor) -> bytes:
  """Serializes `model_fn` with its parameters, for any batch size."""
  exported = jax_export.export(
      jax.jit(model_fn(predictor)), platforms=_PLATFORMS)(_any_batch(predictor))
  return exported.serialize()


def to_onnx(predictor: predictor_lib.Predictor) -> bytes:
  """Converts `model_fn` with jax2onnx, for any batch size."""
  import jax2onnx  # Slow to import, and part of an optional extra.

  python_logging.getLogger('onnx_ir').setLevel(python_logging.ERROR)
  # The converter needs rank promotion of arrays. It knows only JAX's own
  # operations, and so not our depthwise convolution.
  with jax.numpy_rank_promotion('allow'), depthwise.as_grouped():
    return jax2onnx.to_onnx(
        model_fn(predictor), [_any_batch(predictor)], model_name='hybridseg',
        input_names=['images'], output_names=['labels', 'probabilities'],
    ).SerializeToString()


def _any_batch(predictor):
  """Returns the shape and dtype of images, with a symbolic batch size."""
  (batch,) = jax_export.symbolic_shape('b')
  return jax.ShapeDtypeStruct(
      (batch, *predictor.dataset.image_shape), jnp.uint8)


def flat_weights(predictor: predictor_lib.Predictor) -> dict[str, np.ndarray]:
  """Returns all parameters of the networks as one flat dict.

  The keys are NETWORK/MODULE/.../NAME, where NETWORK is the number of the
  network.
  """
  leaves = jax.tree_util.tree_leaves_with_path(predictor.params)
  return {'/'.join(str(getattr(p, 'key', getattr(p, 'idx', p))) for p in path):
          np.ascontiguousarray(leaf) for path, leaf in leaves}


def write(
    predictor: predictor_lib.Predictor, workdir: str, output: str
) -> list[str]:
  """Writes all files of the exported model, or none if an error occurs.

  Args:
    predictor: networks of the run.
    workdir: folder of the run.
    output: new folder to write.

  Returns:
    Lines for the user that state what was written and how it was checked.

  Raises:
    binary.UserError: if the folder exists or cannot be written, or if the
      exported StableHLO model does not predict the same as the original one.
  """
  output = pathlib.Path(os.path.abspath(output))
  if output.exists():
    raise binary.UserError(f'--output={output} exists: give a new folder.')
  try:
    output.parent.mkdir(parents=True, exist_ok=True)
    with whole_file.folder_beside(output) as temporary:
      lines = _write_all(predictor, workdir, temporary)
      os.rename(temporary, output)
  except OSError as e:
    raise binary.UserError(
        f'--output: {system_errors.in_words(e, output)}') from e
  return [f'{output}:', *lines]


def _write_all(predictor, workdir, folder):
  images = _trial_images(predictor)
  # Compare a batch of one image, too: JAX compiles a program per batch size.
  trials = [images, images[:1]]
  live = jax.jit(model_fn(predictor))
  expected = [jax.device_get(live(x)) for x in trials]
  lines = []

  content = to_stablehlo(predictor)
  call = jax.jit(jax_export.deserialize(content).call)
  for x, wanted in zip(trials, expected, strict=True):
    for a, b in zip(jax.device_get(call(x)), wanted, strict=True):
      if a.tobytes() != b.tobytes():
        raise binary.UserError(
            'The exported StableHLO is not the live model, bit for bit, on '
            f'{jax.default_backend()}: nothing was written.')
  (folder / 'model.stablehlo').write_bytes(content)
  lines.append(f'  model.stablehlo      equals the live model bit for bit on '
               f'{grammar.counted(len(images), "image")}')

  if all(map(importlib.util.find_spec, ('jax2onnx', 'onnxruntime'))):
    lines.append(_write_onnx(predictor, folder, trials, expected))
  else:
    lines.append("  model.onnx           not written: pip install -e '.[onnx]'")

  weights = safetensors_numpy.save(flat_weights(predictor))
  (folder / 'weights.safetensors').write_bytes(weights)
  lines.append('  weights.safetensors  parameters of both networks')
  run_folder.write_json(str(folder / 'model.json'), _describe(predictor))
  (folder / 'MODEL_CARD.md').write_text(
      model_card.write(predictor, workdir), encoding='utf-8')
  return [*lines, '  model.json, MODEL_CARD.md']


def _write_onnx(predictor, folder, trials, expected):
  """Writes the ONNX file, if its model agrees with the original one.

  Args:
    predictor: networks of the run.
    folder: folder to write into.
    trials: batches of images on which the models are compared.
    expected: labels and probabilities of the original model for each batch.

  Returns:
    A line for the user that states whether the file was written.
  """
  import onnxruntime

  try:
    content = to_onnx(predictor)
    session = onnxruntime.InferenceSession(
        content, providers=['CPUExecutionProvider'])
    error = share = 0.0
    for x, (labels, probabilities) in zip(trials, expected, strict=True):
      found = session.run(None, {'images': x})
      share = max(share, float(np.mean(found[0] != labels)))
      error = max(error, float(np.abs(found[1] - probabilities).max()))
  except Exception as e:  # The converter raises errors of any type.
    reason = (str(e).strip().splitlines() or [type(e).__name__])[0][:100]
    return ('  model.onnx           not written: the converter failed '
            f'({reason})')
  if error > _MAX_PROBABILITY_ERROR or share > _MAX_LABEL_SHARE:
    return ('  model.onnx           not written: its probabilities differ by '
            f'up to {error:.1e}, and {share:.2%} of its labels')
  (folder / 'model.onnx').write_bytes(content)
  return ('  model.onnx           probabilities differ by at most '
          f'{error:.1e}, {share:.3%} of the labels')


def _trial_images(predictor):
  """Returns images to compare models on: two of noise and one smooth ramp.

  They are uint8 [3, H, W, C].
  """
  shape = predictor.dataset.image_shape
  rng = np.random.default_rng(0)
  noise = rng.integers(0, 256, (2, *shape), dtype=np.uint8)
  ramp = np.linspace(0, 255, shape[0] * shape[1]).reshape(*shape[:2], 1)
  return np.concatenate(
      [noise, np.broadcast_to(ramp, (1, *shape)).astype(np.uint8)])


def _describe(predictor):
  dataset = predictor.dataset
  return {
      'input': {'name': 'images', 'dtype': 'uint8',
                'shape': ['b', *dataset.image_shape]},
      'outputs': [
          {'name': 'labels', 'dtype': 'uint8',
           'shape': ['b', *dataset.image_shape[:2]]},
          {'name': 'probabilities', 'dtype': 'float32',
           'shape': ['b', *dataset.image_shape[:2], len(dataset.classes)]}],
      'classes': list(dataset.classes),
      'preparation': dataset.preparation._asdict(),
      'model': predictor.model._asdict(),
      'step': predictor.step,
      'networks_sha256': predictor.digest,
      'dataset_fingerprint': dataset.fingerprint,
  }
