"""Losses, alignments and gradients of the weak labels in a training step."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hybridseg import deep_supervision
from hybridseg import guards
from hybridseg import linearization
from hybridseg import mapped_axis
from hybridseg import method_parts
from hybridseg import types
from hybridseg import weighting as weighting_lib


class WeakGradients(NamedTuple):
  """The functions that compute losses and gradients of weak labels.

  Attributes:
    linearize: maps (params, weak) to the losses at `params` with both products
      of their Jacobian; `aux` is a pair of the logits and the features. The
      features are None if no part needs them.
    alignments: maps (params, weak, linear, strong_fn, strong_grads) to
      <grad strong, grad weak_k>, float [B].
    weighted_grads: maps (linear, c) to the gradient of the sum of c_k times the
      training loss of instance k.
  """

  linearize: Callable[..., linearization.LinearizedLosses]
  alignments: Callable[..., jax.Array]
  weighted_grads: Callable[..., types.Params]


def _check_per_class(losses, logits):
  wanted = (logits.shape[0], logits.shape[-1] - 1)
  for loss in losses:
    if loss.shape != wanted:
      raise ValueError(
          f'per_class wants losses {wanted}, as of class_losses; got '
          f'{loss.shape}.')


def mean_alignments(
    weak_gradients: WeakGradients,
    networks: Sequence[types.Params],
    weak: tuple[jax.Array, ...],
    linear: Sequence[linearization.LinearizedLosses],
    strong_fn: Callable[[types.Params], tuple[jax.Array, jax.Array]],
    strong_grads: Sequence[types.Params],
    *,
    axis_name: mapped_axis.AxisName,
) -> tuple[jax.Array, jax.Array]:
  """Returns the alignments, averaged over the networks.

  The alignments of each network are scaled to a root mean square of 1 before
  they are averaged.

  Args:
    weak_gradients: from `make_weak_gradients`.
    networks: parameters of each network.
    weak: images, one-hot labels and labelled pixels; with losses by kind, also
      the kinds and tags.
    linear: result of `weak_gradients.linearize` for each network.
    strong_fn: maps params to a pair of the mean loss of the strong batch and
      any aux.
    strong_grads: gradient of the mean strong loss over the global batch, for
      each network.
    axis_name: mapped axis over which the batch is sharded, or None.

  Returns:
    Alignments, float [B], and which of them are not finite, bool [B].
  """
  raw = [
      weak_gradients.alignments(p, weak, l, strong_fn, g)
      for p, l, g in zip(networks, linear, strong_grads, strict=True)
  ]
  scaled = [weighting_lib.unit_rms(a, axis_name=axis_name) for a in raw]
  bad = guards.nonfinite_rows([raw, [l.losses[-1] for l in linear]])
  return jnp.mean(jnp.stack(scaled), axis=0), bad


def make_weak_gradients(
    apply_fn: Callable[[types.Params, jax.Array], jax.Array],
    *,
    features_fn: Callable[..., tuple[jax.Array, jax.Array]] | None,
    coarser_fn: Callable[..., Any] | None = None,
    supervision: method_parts.Supervision,
    weighting: method_parts.Weighting,
    rule: method_parts.WeightingRule,
    axis_name: mapped_axis.AxisName,
) -> WeakGradients:
  """Returns the `WeakGradients` of a method.

  If the alignments have a loss of their own, one forward pass computes both
  losses, the training loss first.

  Args:
    apply_fn: maps params and float images to logits.
    features_fn: maps params and float images to logits and features; only weak
      heads, and rules that need features, use it.
    coarser_fn: see `train_step.make_train_step`; with it, the training loss is
      that of all outputs, and all other losses are those of the finest one.
    supervision: the losses.
    weighting: how the alignments are computed.
    rule: the rule that `weighting` names.
    axis_name: mapped axis over which the batch is sharded, or None.
  """
  loss_fns = [supervision.weak_loss_fn]
  alignment_loss_fn = supervision.alignment_loss_fn or supervision.weak_loss_fn
  if rule.needs_alignments and not method_parts.one_weak_loss(supervision):
    loss_fns.append(alignment_loss_fn)

  def call(loss_fn, logits, images, labels, where, *context):
    if not supervision.by_kind:
      return loss_fn(logits, labels, where=where)
    kind, present = context
    return loss_fn(logits, labels, where=where, kind=kind, present=present,
                   images=types.pixels(images))

  def losses_at(params, images, *annotation):
    """Returns a list of losses, float [B] each; aux is (logits, features)."""
    coarser = ()
    if coarser_fn is not None:
      logits, features, coarser = coarser_fn(params, images)
      features = features if rule.needs_features else None
    elif supervision.weak_head:
      _, features = features_fn(params, images)
      # The output of a linear layer equals its slope along its own parameters.
      logits = weighting_lib.last_layer_slopes(
          features, params[method_parts.WEAK_HEAD])
    elif rule.needs_features:
      logits, features = features_fn(params, images)
    else:
      logits, features = apply_fn(params, images), None
    losses = [call(fn, logits, images, *annotation) for fn in loss_fns]
    if weighting.per_class:
      _check_per_class(losses, logits)
    if coarser_fn is not None:
      labels, where, *context = annotation
      losses[0] = deep_supervision.combined_losses(
          lambda logits, labels, where, pixels: call(
              loss_fns[0], logits, pixels, labels, where, *context),
          (logits, *coarser), labels, where, types.pixels(images))
    return losses, (logits, features)

  def linearize(params, weak):
    if weighting.method != 'per_instance':
      return linearization.linearize_losses(
          lambda p: losses_at(p, *weak), params, has_aux=True
      )

    def one_weak_loss(params, example):
      (loss,), aux = losses_at(
          params, *jax.tree.map(lambda x: x[None], example))
      return loss[0], jax.tree.map(lambda x: x[0], aux)

    linear = linearization.linearize_per_instance(
        one_weak_loss, params, weak, has_aux=True
    )
    return linear._replace(
        losses=[linear.losses],
        directional=lambda direction: [linear.directional(direction)],
        weighted_grads=lambda c: linear.weighted_grads(*c),
    )

  def alignments(params, weak, linear, strong_fn, strong_grads):
    """Returns <grad strong, grad weak_k> of one network, float [B]."""
    if rule.needs_features:
      return weighting_lib.last_layer_alignments(
          lambda x: call(loss_fns[-1], x, *weak),
          *linear.aux,
          strong_grads[method_parts.HEAD],
      )
    if weighting.method == 'grad':
      like = linear.losses[-1]
      slopes = weighting_lib.lookahead_weight_grads(
          lambda p: losses_at(p, *weak)[0][-1].ravel(),
          lambda p: strong_fn(p)[0], params, jnp.zeros_like(like).ravel(),
          step_size=1.0, method='grad', axis_name=axis_name)
      return -slopes.reshape(like.shape)
    return linear.directional(strong_grads)[-1]

  def weighted_grads(linear, coefficients):
    unused = [jnp.zeros_like(coefficients)] * (len(loss_fns) - 1)
    return linear.weighted_grads([coefficients] + unused)

  return WeakGradients(linearize, alignments, weighted_grads)
