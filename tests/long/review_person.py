"""A scripted person, who corrects suspects in a browser with every tool.

The masks that are expected on the disk are computed here with NumPy, SciPy and
Matplotlib from the places of the mouse, and not with any code of the page.
"""

from collections.abc import Callable
import json
import time
from typing import Any, NamedTuple
import urllib.request

from matplotlib import path as mpl_path
import numpy as np
from scipy import ndimage

from tests import browser

_SIZES = (1, 2, 3, 5, 8, 12, 20, 32, 50, 80, 120)
_FIRST_SIZE = 4  # Place of the brush at the start.


class Expected(NamedTuple):
  """What the journal should say about a suspect.

  Attributes:
    decision: the decision.
    source: source of the mask, or ''.
    exact: whether the mask is exact.
    mask: the mask, uint8 [H, W], or None.
  """

  decision: str
  source: str = ''
  exact: bool = False
  mask: np.ndarray | None = None


def fetch(address: str, path: str) -> Any:
  """Returns what a server sends for a path, as JSON values.

  Args:
    address: address of the page, with the token.
    path: the path, such as 'suspect/0'.
  """
  base, token = address.split('?token=')
  request = urllib.request.Request(
      base + path, headers={'X-Review-Token': token})
  with urllib.request.urlopen(request, timeout=60) as answer:
    return json.load(answer)


def decode(content: dict[str, Any], runs: list[int]) -> np.ndarray:
  """Returns runs that a server has sent as a label map."""
  return np.repeat(np.array(runs[::2], np.uint8), runs[1::2]).reshape(
      content['height'], content['width'])


def near_line(
    size: tuple[int, int], first: np.ndarray, second: np.ndarray, radius: float
) -> np.ndarray:
  """Returns the pixels of a stroke from one point (x, y) to another, bool."""
  rows, columns = np.indices(size) + 0.5
  centres = np.stack([columns, rows], -1)
  along = second - first
  length = along @ along
  share = np.clip((centres - first) @ along / length, 0, 1) if length else 0
  foot = first + np.multiply.outer(share, along) if length else first
  found = ((centres - foot) ** 2).sum(-1) <= radius**2
  for x, y in first, second:
    if 0 <= y < size[0] and 0 <= x < size[1]:
      found[int(y), int(x)] = True
  return found


class Person:
  """Uses the page of a review."""

  def __init__(
      self, page: browser.Page, address: str, rng: np.random.Generator
  ):
    self.page, self.address, self.rng = page, address, rng
    self.size = _FIRST_SIZE
    self.number = None  # The suspect that is shown.

  def read(self) -> None:
    """Reads the maps of the suspect that is shown, and where it lies."""
    page = self.page
    self.id = page.run("document.querySelector('#about-title').textContent")
    self.number = int(page.run(
        "document.querySelector('#progress').textContent").split()[1]) - 1
    self.content = fetch(self.address, f'suspect/{self.number}')
    self.maps = {
        name: decode(self.content, self.content[name])
        for name in ('weak', 'prediction', 'inside') if self.content[name]}
    self.shape = self.maps['weak'].shape
    self.mask = np.zeros(self.shape, np.uint8)
    self.place()

  def place(self) -> None:
    """Reads where the picture lies in the window."""
    where = json.loads(self.page.run("""new Promise((done) =>
        requestAnimationFrame(() => requestAnimationFrame(() => {
          const canvas = document.querySelector('canvas');
          const box = canvas.getBoundingClientRect();
          done(JSON.stringify([box.left + Number(canvas.dataset.left),
              box.top + Number(canvas.dataset.top),
              Number(canvas.dataset.scale), Number(canvas.dataset.tall),
              box.left, box.top, box.right, box.bottom]));
        })))"""))
    # The width and the height of a pixel of the picture.
    self.corner, self.scale = np.array(where[:2]), np.array(where[2:4])
    self.box = where[4:]

  def wait_for(self, number: int) -> None:
    """Waits until that many suspects are decided, and the next one shows."""
    for _ in range(600):
      done, busy = self.page.run(
          "[document.querySelector('#progress').textContent, document.body."
          "hasAttribute('aria-busy') || document.querySelector("
          "'#decide button').disabled && !document.querySelector('#about-title'"
          ").textContent.startsWith('All')]")
      if done.split('. ')[-1].startswith(f'{number} of') and not busy:
        return
      time.sleep(0.05)
    message = self.page.run("document.querySelector('#message').textContent")
    raise RuntimeError(f'{done}, expected {number}: {message}')

  def points(self, number: int) -> list[tuple[int, int]]:
    """Returns random points of the window inside the picture."""
    low = np.maximum(self.corner, self.box[:2]) + 2
    high = np.minimum(
        self.corner + self.scale * np.array(self.shape[::-1]),
        self.box[2:]) - 2
    return [tuple(map(int, self.rng.uniform(low, high)))
            for _ in range(number)]

  def in_picture(self, point: tuple[float, float]) -> np.ndarray:
    """Returns a point of the window as (x, y) in pixels of the picture."""
    return (np.array(point) - self.corner) / self.scale

  def window_of(self, pixel: np.ndarray) -> tuple[int, int]:
    """Returns the point of the window at the centre of (row, column)."""
    x, y = self.corner + self.scale * (np.array(pixel)[::-1] + 0.5)
    return round(x), round(y)

  def paint(self, points, value: int) -> None:
    """Notes a stroke through points of the window."""
    places = [self.in_picture(p) for p in points]
    for first, second in zip(
        places[:1] + places, places[:1] + places[1:], strict=False):
      self.mask[near_line(
          self.shape, first, second, _SIZES[self.size] / 2)] = value

  def stroke(self, key: str, value: int, number: int = 4) -> None:
    """Draws with the brush or the eraser."""
    points = self.points(number)
    self.page.press(key)
    self.page.drag(points)
    self.paint(points, value)

  def resize(self, by: int) -> None:
    """Changes the size of the brush."""
    self.page.press(*(']' if by > 0 else '[') * abs(by))
    self.size = min(max(self.size + by, 0), len(_SIZES) - 1)

  def add_polygon(self, points, value: int) -> None:
    """Notes a polygon with corners at points of the window."""
    rows, columns = np.indices(self.shape) + 0.5
    corners = [self.in_picture(p) for p in points]
    inside = mpl_path.Path([*corners, corners[0]], closed=True).contains_points(
        np.stack([columns.ravel(), rows.ravel()], -1))
    self.mask[inside.reshape(self.shape)] = value

  def drawn(self, *, exact: bool = True, source: str = 'drawn') -> Expected:
    """Saves the drawing with Enter."""
    self.page.press('Enter')
    return Expected('mask', source, exact, self.mask)


def keep(person: Person) -> Expected:
  person.page.press('k')
  return Expected('keep')


def drop(person: Person) -> Expected:
  person.page.press('d')
  return Expected('drop')


def prediction(person: Person) -> Expected:
  person.page.press('p')
  return Expected('mask', 'prediction', False, person.maps['prediction'])


def exact_prediction(person: Person) -> Expected:
  person.page.press('x', 'p')
  return Expected('mask', 'prediction', True, person.maps['prediction'])


def inside(person: Person) -> Expected:
  person.page.press('i')
  if not person.maps['inside'].any():
    return keep(person)  # The page has refused: there would be no object.
  return Expected('mask', 'prediction_inside', False, person.maps['inside'])


def brush(person: Person) -> Expected:
  """Draws a stroke of each class; the last button is that of unlabelled."""
  number = "document.querySelectorAll('button[data-value]').length"
  for value in range(1, int(person.page.run(number))):
    person.page.press(str(value))
    person.stroke('b', value)
  person.page.press('1')
  return person.drawn()


def erased_prediction(person: Person) -> Expected:
  person.page.press('P')
  person.mask = person.maps['prediction'].copy()
  person.stroke('e', 0)
  return person.drawn()


def unchanged_prediction(person: Person) -> Expected:
  person.page.press('P')
  person.mask = person.maps['prediction']
  return person.drawn(exact=False, source='prediction')


def polygon(person: Person) -> Expected:
  points = person.points(3)
  person.page.press('g')
  for point in points:
    person.page.drag([point])
  person.page.press('Enter')
  person.add_polygon(points, 1)
  return person.drawn()


def closed_polygon(person: Person) -> Expected:
  """Closes a quadrilateral with a click on its first corner; takes one back."""
  size = person.scale * np.array(person.shape[::-1])
  x0, y0 = (person.corner + size * person.rng.uniform(.1, .3, 2)).astype(int)
  x1, y1 = (person.corner + size * person.rng.uniform(.6, .9, 2)).astype(int)
  points = [(int(x), int(y)) for x, y in (
      (x0, y0), (x1, y0 + 3), (x1 - 5, y1), (x0 + 2, y1 - 2))]
  person.page.press('g')
  for point in [*points[:2], (x0 + 1, y1 + 3)]:
    person.page.drag([tuple(map(int, point))])
  person.page.press('u')
  for point in [*points[2:], points[0]]:
    person.page.drag([point])
  person.add_polygon(points, 1)
  return person.drawn()


def fill(person: Person) -> Expected:
  """Adds the largest predicted object, if there is any."""
  parts, number = ndimage.label(person.maps['prediction'], np.ones((3, 3)))
  if not number:
    return brush(person)
  largest = parts == 1 + np.argmax(np.bincount(parts[parts > 0])[1:])
  pixel = np.argwhere(largest)[largest.sum() // 2]
  person.page.hover(person.window_of(pixel))
  person.page.press('f')
  person.mask[largest] = person.maps['prediction'][largest]
  return person.drawn()


def touch(person: Person) -> Expected:
  """Draws with a finger; a pinch with two fingers draws nothing."""
  person.page.press('b')
  points = person.points(3)
  person.page.touch(points)
  person.paint(points, 1)
  x, y = map(int, np.mean([person.box[:2], person.box[2:]], axis=0))
  person.page.touch([(x - 20, y), (x - 60, y)], [(x + 20, y), (x + 60, y)])
  person.page.press('z')
  person.place()
  return person.drawn()


def keyboard(person: Person) -> Expected:
  """Draws with the keyboard's cursor."""
  page = person.page
  page.hover(person.points(1)[0])
  page.hover((person.box[2] + 40, person.box[1] + 5))  # Out of the picture.
  page.press('b', ' ')
  at = np.array(person.shape[::-1]) / 2
  radius = _SIZES[person.size] / 2
  by = max(1, int(radius + 0.5))
  person.mask[near_line(person.shape, at, at, radius)] = 1
  for key, step in (('ArrowLeft', (-by, 0)), ('ArrowUp', (0, -by)),
                    ('ArrowLeft', (-by, 0))):
    page.press(key, modifiers=browser.SHIFT)
    person.mask[near_line(person.shape, at, at + step, radius)] = 1
    at = at + step
  page.press(' ')
  page.press('ArrowDown', modifiers=browser.SHIFT)  # With the pen up.
  page.press('ArrowDown', modifiers=browser.SHIFT | browser.ALT)
  return person.drawn()


def undone(person: Person) -> Expected:
  """Takes two of three strokes back, one with Ctrl+Z."""
  person.stroke('b', 1)
  mask = person.mask.copy()
  person.stroke('b', 1)
  person.stroke('e', 0)
  person.page.press('u')
  person.page.press('z', modifiers=browser.CONTROL)
  person.mask = mask
  return person.drawn()


def no_object(person: Person) -> Expected:
  person.page.press('E')
  return person.drawn()


def coarse(person: Person) -> Expected:
  person.stroke('b', 1)
  person.page.press('x')
  return person.drawn(exact=False)


def unlabelled(person: Person) -> Expected:
  """Draws what is not known; with `x`, it may be much."""
  person.page.press('0')
  person.stroke('b', 255, 8)
  person.page.press('1')
  person.stroke('b', 1)
  person.page.press('x')
  return person.drawn(exact=False)


def other_sizes(person: Person) -> Expected:
  for by in -4, 6, -2:
    person.resize(by)
    person.stroke('b', 1, 3)
  return person.drawn()


def zoomed(person: Person) -> Expected:
  """Draws after zooming with the wheel, and moving with the mouse."""
  page = person.page
  middle = person.window_of(np.array(person.shape) / 2)
  page.call('Input.dispatchMouseEvent', type='mouseWheel', x=middle[0],
            y=middle[1], deltaX=0, deltaY=-300)
  page.press('+', 'v')
  page.drag([middle, (middle[0] + 50, middle[1] - 30)])
  person.place()
  person.stroke('b', 1)
  page.press('z')
  return person.drawn()


def with_buttons(person: Person) -> Expected:
  """Uses buttons with the mouse, then Enter for the drawing."""
  page = person.page
  for selector in ('button[data-tool=brush]', '[data-do=larger]',
                   '[data-do=smaller]'):
    page.run(f"document.querySelector('{selector}').scrollIntoView()")
    x, y = json.loads(page.run(
        "(({left, top, width, height}) => JSON.stringify([left + width / 2, "
        "top + height / 2]))(document.querySelector("
        f"'{selector}').getBoundingClientRect())"))
    page.drag([(x, y)])
  points = person.points(3)
  page.drag(points)
  person.paint(points, 1)
  return person.drawn()


def withdrawn(person: Person) -> Expected:
  """Keeps, withdraws with u, and drops."""
  before = int(person.page.run(
      "document.querySelector('#progress').textContent").split('. ')[1].split(
          )[0])
  person.page.press('k')
  person.wait_for(before + 1)
  person.page.press('u')
  person.wait_for(before)
  return drop(person)


def interrupted(person: Person) -> Expected:
  """Presses keys while the mouse draws, and keeps in the middle of a stroke."""
  page = person.page
  mouse = lambda kind, point: page.call(
      'Input.dispatchMouseEvent', type=kind, x=point[0], y=point[1],
      button='left', buttons=1, clickCount=1)
  page.press('b')
  points = person.points(6)
  mouse('mouseMoved', points[0])
  mouse('mousePressed', points[0])
  mouse('mouseMoved', points[1])
  page.press('u')  # Takes this stroke back.
  mouse('mouseMoved', points[2])
  mouse('mouseReleased', points[2])
  person.stroke('b', 1)
  wanted = person.drawn()
  number = person.number
  person.wait_for(number + 1)
  # The next suspect is kept within a stroke, which must not go on after it.
  mouse('mouseMoved', points[3])
  mouse('mousePressed', points[3])
  mouse('mouseMoved', points[4])
  page.press('k')
  person.wait_for(number + 2)
  mouse('mouseMoved', points[5])
  mouse('mouseReleased', points[5])
  page.press('u')  # Withdraws that decision, since nothing is drawn here.
  person.wait_for(number + 1)
  return wanted


TOOLS: tuple[Callable[[Person], Expected], ...] = (
    keep, drop, prediction, inside, brush, erased_prediction, polygon, fill,
    touch, keyboard, undone, no_object, coarse, unlabelled, other_sizes, zoomed,
    with_buttons, closed_polygon, exact_prediction, unchanged_prediction,
    withdrawn, interrupted)
