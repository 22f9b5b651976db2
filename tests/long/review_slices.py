"""A scripted person, who corrects volumes in a browser slice by slice.

As in `review_person`, the masks that are expected on the disk are computed from
the places of the mouse, and not with any code of the page.
"""

from collections.abc import Callable

import numpy as np

from tests import browser
from tests.long import review_person


class VolumePerson(review_person.Person):
  """Uses the page of a review of whole volumes.

  Attributes:
    volume: the mask as it should be saved, uint8 [N, H, W].
    at: the slice that is shown.
    seen: the slices that were shown.
  """

  def read(self) -> None:
    """Reads the maps of the volume that is shown."""
    page = self.page
    self.id = page.run("document.querySelector('#about-title').textContent")
    self.number = int(page.run(
        "document.querySelector('#progress').textContent").split()[1]) - 1
    depth = int(page.run("document.querySelector('#slices input').max")) + 1
    contents = [review_person.fetch(
        self.address, f'suspect/{self.number}/{k}') for k in range(depth)]
    self.maps = {name: np.stack([
        review_person.decode(c, c[name]) for c in contents])
                 for name in ('weak', 'prediction', 'inside')
                 if contents[0][name]}
    self.shape = self.maps['weak'].shape[1:]
    self.at = self.shown()
    self.seen, self.drawn_in = {self.at}, set()
    self.start('none')
    self.place()

  def start(self, base: str) -> None:
    """Notes what the drawing starts from."""
    self.base, self.drawn_in = base, set()
    number = {'none': 255, 'empty': 0}.get(base)
    self.volume = self.maps[base].copy() if number is None else np.full(
        self.maps['weak'].shape, number, np.uint8)

  @property
  def mask(self) -> np.ndarray:
    """The mask of the slice that is shown, which is about to be changed."""
    if self.base == 'none' and self.at not in self.drawn_in:
      self.volume[self.at] = 0
    self.drawn_in.add(self.at)
    return self.volume[self.at]

  def shown(self) -> int:
    """Returns the slice that the page shows."""
    text = self.page.run("document.querySelector('#slices output').textContent")
    return int(text.split()[1])

  def move(self, *keys: str) -> None:
    """Goes to other slices with keys, and notes that they were looked at."""
    for key in keys:
      self.page.press(key)
      by = {',': -1, '.': 1, 'PageUp': -1, 'PageDown': 1}[key]
      self.arrive(min(max(self.at + by, 0), len(self.volume) - 1))

  @property
  def way(self) -> int:
    """Where there is more room among the slices: 1 or -1."""
    return 1 if self.at < len(self.volume) // 2 else -1

  def go(self, by: int) -> None:
    """Goes to the next slice (1) or to the one before (-1) with its key."""
    self.move('.' if by > 0 else ',')

  def wheel(self, by: int) -> None:
    """Turns the wheel by a notch over the picture."""
    x, y = np.mean([self.box[:2], self.box[2:]], axis=0)
    self.page.call('Input.dispatchMouseEvent', type='mouseWheel', x=int(x),
                   y=int(y), deltaX=0, deltaY=100 * by)
    self.arrive(self.at + by)

  def arrive(self, number: int) -> None:
    """Waits until a slice is shown."""
    for _ in range(400):
      said = self.page.run("document.querySelector('#message').textContent")
      if self.shown() == number and (
          number == self.at or said.startswith(f'Slice {number} ')):
        break
    else:
      raise RuntimeError(f'slice {self.shown()}, expected {number}: {said}')
    self.at = number
    self.seen.add(number)

  def wanted(self, *, exact: bool | None = None) -> review_person.Expected:
    """Saves the drawing with Enter; returns what should be on the disk."""
    if exact is None:
      settled = self.drawn_in | (self.seen if self.base != 'none' else set())
      exact = len(settled) == len(self.volume)
    self.page.press('Enter')
    return review_person.Expected('mask', 'drawn', exact, self.volume)


def few_slices(person: VolumePerson) -> review_person.Expected:
  """Draws in three slices; the others stay unlabelled."""
  by = person.way
  person.stroke('b', 1)
  person.go(by)
  person.page.press('2')
  person.stroke('b', 2)
  person.page.press('1')
  person.wheel(by)
  points = person.points(3)
  person.page.press('g')
  for point in points:
    person.page.drag([point])
  person.page.press('Enter')
  person.add_polygon(points, 1)
  return person.wanted()


def all_slices(person: VolumePerson) -> review_person.Expected:
  """Starts from no object, and goes through all slices."""
  person.page.press('E')
  person.start('empty')
  person.move(*(',' for _ in range(person.at)))
  person.stroke('b', 1)
  person.move(*('PageDown' for _ in range(len(person.volume) - 1)))
  person.stroke('b', 1)
  return person.wanted()


def erased(person: VolumePerson) -> review_person.Expected:
  """Erases in two slices of the prediction."""
  person.page.press('P')
  person.start('prediction')
  person.stroke('e', 0)
  person.move(*2 * ['PageDown' if person.way > 0 else 'PageUp'])
  person.stroke('e', 0)
  return person.wanted()


def inside_and_exact(person: VolumePerson) -> review_person.Expected:
  """Starts from the prediction inside; with x, the mask is exact."""
  person.page.press('I')
  person.start('inside')
  person.go(person.way)
  person.stroke('b', 1)
  person.page.press('x')
  return person.wanted(exact=True)


def undone(person: VolumePerson) -> review_person.Expected:
  """Takes strokes back in two slices, and a start from the annotation."""
  first, by = person.at, person.way
  person.stroke('b', 1)
  before, drawn_in = person.volume.copy(), set(person.drawn_in)
  person.go(by)
  person.stroke('b', 1)
  person.go(by)
  person.page.press('W')
  person.stroke('e', 0)
  person.page.press('u', 'u')  # The eraser, and the start.
  person.page.press('u')  # The stroke of the slice before, which is shown.
  person.arrive(first + by)
  person.base, person.volume, person.drawn_in = 'none', before, drawn_in
  person.go(-by)
  person.stroke('b', 1)
  return person.wanted()


def filled(person: VolumePerson) -> review_person.Expected:
  """Adds predicted objects of the slices with the largest ones."""
  areas = (person.maps['prediction'] > 0).sum((1, 2))
  while person.at != np.argmax(areas):
    person.move('.' if person.at < np.argmax(areas) else ',')
  if not areas.any():
    return few_slices(person)
  prediction = person.maps['prediction'][person.at]
  value = np.bincount(prediction[prediction > 0]).argmax()
  parts, _ = review_person.ndimage.label(prediction == value, np.ones((3, 3)))
  largest = parts == 1 + np.argmax(np.bincount(parts[parts > 0])[1:])
  person.page.hover(person.window_of(
      np.argwhere(largest)[largest.sum() // 2]))
  person.page.press('f')
  person.mask[largest] = value
  return person.wanted()


def zoomed(person: VolumePerson) -> review_person.Expected:
  """Zooms with Ctrl and the wheel, and keeps the zoom in the next slice."""
  x, y = np.mean([person.box[:2], person.box[2:]], axis=0)
  person.page.call('Input.dispatchMouseEvent', type='mouseWheel', x=int(x),
                   y=int(y), deltaX=0, deltaY=-300, modifiers=browser.CONTROL)
  person.page.press('+')
  person.place()
  before = person.scale.copy()
  person.go(person.way)
  person.place()
  assert (person.scale == before).all(), (person.scale, before)
  person.stroke('b', 1)
  person.page.press('z')
  return person.wanted()


def slider(person: VolumePerson) -> review_person.Expected:
  """Moves the slider with its own keys, and draws with the letters' keys."""
  person.page.run("document.querySelector('#slices input').focus()")
  by = person.way
  person.page.press('ArrowRight' if by > 0 else 'ArrowLeft')
  person.arrive(person.at + by)
  person.stroke('b', 1)
  return person.wanted()


def prediction(person: VolumePerson) -> review_person.Expected:
  person.go(person.way)
  person.page.press('p')
  return review_person.Expected(
      'mask', 'prediction', False, person.maps['prediction'])


def inside(person: VolumePerson) -> review_person.Expected:
  person.page.press('i')
  if not person.maps['inside'].any():
    return review_person.keep(person)  # The page has refused.
  return review_person.Expected(
      'mask', 'prediction_inside', False, person.maps['inside'])


TOOLS: tuple[Callable[[VolumePerson], review_person.Expected], ...] = (
    few_slices, review_person.keep, all_slices, erased, prediction,
    inside_and_exact, undone, inside, filled, review_person.drop, zoomed,
    slider, review_person.withdrawn)
