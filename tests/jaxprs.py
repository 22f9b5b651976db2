"""Inspects traced programs."""


def equations(jaxpr):
  """Yields the equations of a jaxpr and of all jaxprs within it."""
  for eqn in jaxpr.eqns:
    yield eqn
    for value in eqn.params.values():
      if hasattr(value, 'jaxpr'):
        yield from equations(value.jaxpr)
