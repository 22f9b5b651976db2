"""Makes up weights in the form in which torchvision saves them."""

import numpy as np

NUM_BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}


def torch_state(depth, *, seed=0):
  """Returns random weights of a ResNet: NumPy arrays by torchvision's names."""
  rng = np.random.default_rng(seed)
  state = {}

  def add(conv, norm, channels, inputs, size):
    shape = channels, inputs, size, size
    state[f'{conv}.weight'] = (
        rng.standard_normal(shape) / np.sqrt(inputs * size**2)
    ).astype(np.float32)
    for name, low, high in (('weight', 0.5, 1.5), ('bias', -0.5, 0.5),
                            ('running_mean', -0.5, 0.5),
                            ('running_var', 0.3, 2)):
      state[f'{norm}.{name}'] = rng.uniform(
          low, high, channels).astype(np.float32)
    state[f'{norm}.num_batches_tracked'] = np.array(7)

  add('conv1', 'bn1', 64, 3, 7)
  inputs = 64
  for stage, num_blocks in enumerate(NUM_BLOCKS[depth]):
    inner = 64 * 2**stage
    outputs = inner if depth == 18 else 4 * inner
    convs = [(inner, 3), (inner, 3)]
    if depth == 50:
      convs = [(inner, 1), (inner, 3), (outputs, 1)]
    for block in range(num_blocks):
      name = f'layer{stage + 1}.{block}'
      if not block and inputs != outputs:
        add(f'{name}.downsample.0', f'{name}.downsample.1', outputs, inputs, 1)
      for i, (channels, size) in enumerate(convs, 1):
        add(f'{name}.conv{i}', f'{name}.bn{i}', channels, inputs, size)
        inputs = channels
  state['fc.weight'] = np.zeros((1000, inputs), np.float32)
  state['fc.bias'] = np.zeros(1000, np.float32)
  return state
