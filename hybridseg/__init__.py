"""hybridseg: segmentation from a few exact masks and many weak annotations.

The library consists of pure JAX functions. Nothing here reads a file, a flag or
a config, and only `hybridseg.parallel` asks how many devices there are.

Each module is loaded when it is first used. Programs that only prepare pictures
can therefore import `hybridseg.types` without loading JAX.
"""

import importlib
from typing import Any, TYPE_CHECKING

if TYPE_CHECKING:  # Only type checkers and editors read these imports.
  from hybridseg import alignment_maps
  from hybridseg import augmentation
  from hybridseg import batch_checks
  from hybridseg import class_losses
  from hybridseg import co_regularization
  from hybridseg import deep_supervision
  from hybridseg import guards
  from hybridseg import indicator_grads
  from hybridseg import indicator_step
  from hybridseg import indicators
  from hybridseg import inference
  from hybridseg import inner_optimizers
  from hybridseg import kind_losses
  from hybridseg import linearization
  from hybridseg import loss_functions
  from hybridseg import losses
  from hybridseg import mapped_axis
  from hybridseg import masking
  from hybridseg import meta_weight_net
  from hybridseg import method_parts
  from hybridseg import metrics
  from hybridseg import microbatches
  from hybridseg import mixing
  from hybridseg import models
  from hybridseg import parallel
  from hybridseg import refinement
  from hybridseg import regularizers
  from hybridseg import terms
  from hybridseg import train_state
  from hybridseg import train_step
  from hybridseg import types
  from hybridseg import volume_augmentation
  from hybridseg import volume_inference
  from hybridseg import warping
  from hybridseg import weak_gradients
  from hybridseg import weak_losses
  from hybridseg import weight_rules
  from hybridseg import weighting
  from hybridseg.indicator_grads import indicator_value_and_grad
  from hybridseg.indicator_step import make_indicator_step
  from hybridseg.indicators import IndicatorState
  from hybridseg.indicators import init_indicators
  from hybridseg.indicators import update_indicators
  from hybridseg.inference import make_predict_step
  from hybridseg.inference import sliding_window
  from hybridseg.train_step import make_eval_step
  from hybridseg.train_step import make_train_step
  from hybridseg.train_step import TrainState
  from hybridseg.types import AnnotationKind
  from hybridseg.types import Examples
  from hybridseg.types import HybridBatch
  from hybridseg.types import UNLABELLED
  from hybridseg.weighting import l2rw_weights
  from hybridseg.weighting import linear_weight_grads
  from hybridseg.weighting import lookahead_weight_grads

__version__ = '0.1.0'

__all__ = (
    'AnnotationKind',
    'Examples',
    'HybridBatch',
    'IndicatorState',
    'TrainState',
    'UNLABELLED',
    'alignment_maps',
    'augmentation',
    'batch_checks',
    'class_losses',
    'co_regularization',
    'deep_supervision',
    'guards',
    'indicator_grads',
    'indicator_step',
    'indicator_value_and_grad',
    'indicators',
    'inference',
    'init_indicators',
    'inner_optimizers',
    'kind_losses',
    'l2rw_weights',
    'linear_weight_grads',
    'linearization',
    'lookahead_weight_grads',
    'loss_functions',
    'losses',
    'make_eval_step',
    'make_indicator_step',
    'make_predict_step',
    'make_train_step',
    'mapped_axis',
    'masking',
    'meta_weight_net',
    'method_parts',
    'metrics',
    'microbatches',
    'mixing',
    'models',
    'parallel',
    'refinement',
    'regularizers',
    'sliding_window',
    'terms',
    'train_state',
    'train_step',
    'types',
    'update_indicators',
    'volume_augmentation',
    'volume_inference',
    'warping',
    'weak_gradients',
    'weak_losses',
    'weight_rules',
    'weighting',
)

# Maps each public name that is not a module to the module that defines it.
_HOMES = {
    'AnnotationKind': 'types',
    'Examples': 'types',
    'HybridBatch': 'types',
    'IndicatorState': 'indicators',
    'TrainState': 'train_step',
    'UNLABELLED': 'types',
    'indicator_value_and_grad': 'indicator_grads',
    'init_indicators': 'indicators',
    'l2rw_weights': 'weighting',
    'linear_weight_grads': 'weighting',
    'lookahead_weight_grads': 'weighting',
    'make_eval_step': 'train_step',
    'make_indicator_step': 'indicator_step',
    'make_predict_step': 'inference',
    'make_train_step': 'train_step',
    'sliding_window': 'inference',
    'update_indicators': 'indicators',
}


def __getattr__(name: str) -> Any:
  if name not in __all__:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  value = importlib.import_module(f'{__name__}.{_HOMES.get(name, name)}')
  if name in _HOMES:
    value = getattr(value, name)
  globals()[name] = value  # Later accesses then bypass this function.
  return value


def __dir__() -> list[str]:
  return sorted({*globals(), *__all__})
