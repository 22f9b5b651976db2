#!/usr/bin/env bash
# ngff-zarr 0.50.0: to_multiscales with Methods.ITK_GAUSSIAN, 'similar to ITKWASM_GAUSSIAN,
# but built to native binaries', smooths an image and halves it. The metadata of the new
# level put its first voxel between the first two, at 0.5, as is right for the mean of two
# voxels. The samples are taken from 0, 2, 4, ... instead. Of an image whose value at
# place y is 10 y, the level halved says 20 at the place 2.5, and that of a quarter says
# 40 at 5.5. ITK_BIN_SHRINK with the same metadata gives 25 and 55.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'ngff-zarr==0.50.0' 'itk-filtering==5.4.7' 'itkwasm==1.0b201' 'itkwasm-downsample==2.0.2' 'zarrista==0.1.0' 'dask[array]==2026.8.0' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import ngff_zarr
import numpy as np
from ngff_zarr.methods._metadata import _METHOD_INFO

assert _METHOD_INFO['ITK_GAUSSIAN']['description'].startswith('Similar to ITKWASM_GAUSSIAN, '), (
    'the documentation has changed')
print('ngff-zarr', importlib.metadata.version('ngff-zarr'))
ramp = np.broadcast_to(np.arange(16, dtype=np.float32)[:, None] * 10, (16, 16)).copy()
image = ngff_zarr.to_ngff_image(ramp, dims=('y', 'x'), scale={'y': 1., 'x': 1.},
                                translation={'y': 0., 'x': 0.})
errors = {}
for method in (ngff_zarr.Methods.ITK_BIN_SHRINK, ngff_zarr.Methods.ITK_GAUSSIAN):
  levels = ngff_zarr.to_multiscales(image, scale_factors=[2, 4], method=method, chunks=16).images
  for level in levels[1:]:
    # The middle of the image, away from what the edges do to the smoothing.
    middle = slice(1, -1)
    values = np.asarray(level.data)[middle, level.data.shape[1] // 2]
    places = level.translation['y'] + level.scale['y'] * np.arange(level.data.shape[0])[middle]
    print(f'{method.value}, scale {level.scale["y"]}: at y =', *places, 'the values', *values.round(1))
    errors[method.name, level.scale['y']] = round(float(np.mean(places - values / 10)), 1)
print('places minus the places of the values:', errors)
assert errors['ITK_BIN_SHRINK', 2] == errors['ITK_BIN_SHRINK', 4] == 0
assert errors['ITK_GAUSSIAN', 2] == 0.5 and errors['ITK_GAUSSIAN', 4] == 1.5, (
    'the behaviour has changed')
print('as stated: the samples of the Gaussian method lie before their places')
PY
