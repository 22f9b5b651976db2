"""stub."""


def write(cells, workdir, *, reference):
  pass
