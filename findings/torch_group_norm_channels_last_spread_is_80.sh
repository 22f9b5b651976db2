#!/usr/bin/env bash
# torch 2.14.1, CPU: GroupNorm of float32 features with mean 1000 and standard
# deviation 1 gives a standard deviation of 1, as it should, for contiguous
# memory. For the same tensor in channels_last, the layout recommended for
# convolutions, it is 80, without a warning: the variance is rounded away and
# eps takes its place. Intensities of CT and MRI are of this size. The download
# is about 3 GB, since the wheel of PyPI comes with its GPU libraries.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir 'torch==2.14.1' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import torch

torch.manual_seed(0)
norm = torch.nn.GroupNorm(8, 16)
print('torch', torch.__version__)
with torch.no_grad():
  for mean in (0.0, 100.0, 1000.0):
    x = mean + torch.randn(2, 16, 64, 64)
    last = x.to(memory_format=torch.channels_last)
    assert torch.equal(x, last)
    spread = norm(x).std().item(), norm(last).std().item()
    print(f'mean {mean:6}: contiguous {spread[0]:.4f}, '
          f'channels_last {spread[1]:.4f}')
    assert abs(spread[0] - 1) < 0.01
assert spread[1] > 20, 'the behaviour has changed'
PY
