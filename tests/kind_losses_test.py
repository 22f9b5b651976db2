"""Tests for hybridseg.kind_losses."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import kind_losses
from hybridseg import losses
from hybridseg import regularizers
from hybridseg import types
from hybridseg import weak_losses

_KIND = types.AnnotationKind


class ByKindTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.box = kind_losses.of_labels(weak_losses.box_loss)
    self.partial = kind_losses.of_labels(losses.cross_entropy_loss)
    self.crf = kind_losses.of_images(
        functools.partial(regularizers.gated_crf_loss, radius=1))
    self.entropy = kind_losses.of_pixels(regularizers.entropy_loss)
    self.tag = kind_losses.of_tags(weak_losses.tag_loss)
    self.table = {
        _KIND.BOX: [(1.0, self.box), (0.5, self.crf)],
        _KIND.TAG: [(2.0, self.tag)],
        _KIND.NONE: [(0.1, self.entropy)],
    }
    self.loss = kind_losses.by_kind(
        self.table, default=[(1.0, self.partial), (0.3, self.crf)])

  def _data(self, seed=0):
    rng = np.random.default_rng(seed)
    shape = (4, 5, 6)
    logits = rng.normal(size=(*shape, 3)).astype(np.float32)
    return logits, kind_losses.Annotation(
        labels=np.eye(3, dtype=np.float32)[rng.integers(3, size=shape)],
        where=rng.random(shape) < 0.7,
        present=np.uint8([[255, 1, 0], [255, 0, 255], [255] * 3, [0, 1, 1]]),
        images=rng.random((*shape, 2)).astype(np.float32))

  @parameterized.parameters(
      ([_KIND.BOX, _KIND.TAG, _KIND.NONE, _KIND.SCRIBBLE],),
      ([_KIND.POINTS, _KIND.BOX, _KIND.BOX, _KIND.POLYGON],))
  def test_sums_the_terms_of_each_kind(self, kinds):
    logits, a = self._data()
    got = self.loss(logits, a.labels, where=a.where, kind=np.int32(kinds),
                    present=a.present, images=a.images)
    default = [(1.0, self.partial), (0.3, self.crf)]
    expected = [
        sum(f * term(logits, a)[i] for f, term in self.table.get(kind, default))
        for i, kind in enumerate(kinds)]
    np.testing.assert_allclose(got, expected, rtol=1e-5)

  def test_one_program_for_all_kinds(self):
    traces = []

    @jax.jit
    def loss(logits, a, kind):
      traces.append(kind)
      return self.loss(logits, a.labels, where=a.where, kind=kind,
                       present=a.present, images=a.images)

    for kind in _KIND:
      logits, a = self._data(int(kind))
      loss(logits, a, np.full(4, kind, np.int32))
    self.assertLen(traces, 1)

  def test_a_bad_number_in_an_unused_term_does_no_harm(self):
    bad = lambda logits, a: jnp.log(-jnp.sum(jnp.square(logits), (1, 2, 3)))
    loss = kind_losses.by_kind({
        _KIND.BOX: [(1.0, bad)], _KIND.TAG: [(1.0, self.entropy)]})
    logits, a = self._data()
    run = lambda x, kind: loss(
        x, a.labels, where=a.where, kind=np.int32(kind), present=a.present,
        images=a.images).sum()
    good = [_KIND.TAG, _KIND.MASK, _KIND.TAG, _KIND.TAG]
    value, grads = jax.value_and_grad(run)(logits, good)
    self.assertTrue(np.isfinite(value))
    self.assertTrue(np.isfinite(grads).all())
    np.testing.assert_array_equal(grads[1], 0)
    self.assertFalse(np.isfinite(run(logits, [_KIND.BOX] * 4)))

  def test_instance_by_instance_and_linearized(self):
    logits, a = self._data()
    kind = np.int32([_KIND.BOX, _KIND.TAG, _KIND.NONE, _KIND.SCRIBBLE])

    def one(x, a, kind):
      a = jax.tree.map(lambda x: x[None], a)
      return self.loss(x[None], a.labels, where=a.where, kind=kind[None],
                       present=a.present, images=a.images)[0]

    together = jax.jit(lambda x: self.loss(
        x, a.labels, where=a.where, kind=kind, present=a.present,
        images=a.images))
    np.testing.assert_allclose(
        jax.jit(jax.vmap(one))(logits, a, kind), together(logits), rtol=1e-5)
    _, slope = jax.linearize(together, logits)
    transposed, = jax.linear_transpose(slope, logits)(jnp.ones(4))
    grads = jax.grad(lambda x: together(x).sum())(logits)
    np.testing.assert_allclose(transposed, grads, rtol=1e-5, atol=1e-7)

  @parameterized.parameters(-1, len(_KIND), 255)
  def test_a_kind_that_there_is_not_is_nan(self, kind):
    # As an index, such a number would select some kind, counted from the end or
    # cut off to the last.
    logits, a = self._data()
    loss = kind_losses.by_kind({}, default=[(1.0, self.entropy)])
    call = lambda kind: loss(logits, a.labels, where=a.where, kind=kind,
                             present=a.present, images=a.images)
    found = call(np.int32([_KIND.BOX, kind, _KIND.NONE, _KIND.TAG]))
    np.testing.assert_array_equal(
        np.isnan(found), [False, True, False, False])
    with self.assertRaisesRegex(ValueError, 'kind is float32'):
      call(np.zeros(4, np.float32))

  def test_refuses_what_is_no_table(self):
    with self.assertRaisesRegex(ValueError, 'No kind has a loss'):
      kind_losses.by_kind({_KIND.BOX: []})
    with self.assertRaisesRegex(ValueError, '77'):
      kind_losses.by_kind({77: [(1.0, self.box)]})


if __name__ == '__main__':
  absltest.main()
