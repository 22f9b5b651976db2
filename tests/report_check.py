r"""Checks HTML reports in a headless Chromium, mostly by using the keyboard.

python -m tests.report_check --screenshots=FOLDER [FILE ...]

It needs `chromium` on the PATH and the package `websockets`; if either is
missing, it ends with a message of one line. Without files, it writes the
reports of a made-up evaluation and audit, with `--num_cases` cases that have
hostile names, and prints their sizes and the time to write them.

It controls the browser through the DevTools protocol. Each report is opened at
the width of a desktop and of a phone, and in dark and light colours. It checks
that:

- no error occurs, the content policy is not violated, nothing but the file is
  requested, and nothing is wider than the window;
- Tab reaches every control in order, and the focus is visible there;
- Enter sorts a column and opens a case, arrow keys move to other cases, Escape
  closes the case, and the focus then returns to the list;
- the filter shows the right cases;
- arrow keys move the slider over the slices of a volume, if there is one;
- everything is visible without JavaScript.

The exit code is 1 if a check fails.
"""

import itertools
import math
import os
import pathlib
import sys
import tempfile
import time

from absl import app
from absl import flags

from tests import browser
from tests import synthetic_reports

_NUM_CASES = flags.DEFINE_integer(
    'num_cases', 1000, 'Of each report that is made up.', lower_bound=20)
_SIZE = flags.DEFINE_integer('size', 256, 'Side of their images, in pixels.')
_SCREENSHOTS = flags.DEFINE_string(
    'screenshots', None, 'Folder for pictures of the pages.')

_WIDTHS = {'desktop': (1280, 900), 'phone': (390, 844)}
_SCHEMES = ('light', 'dark')

# JavaScript that returns the elements that Tab should reach, in the order of
# the document. The browser also gives the focus to tables that can scroll.
_CONTROLS = """[...document.querySelectorAll(
    'a[href], button, input, summary, [tabindex], .tables')].filter((e) =>
    !e.disabled && e.checkVisibility() && (e.tabIndex >= 0 ||
        e.matches('.tables') && e.scrollWidth > e.clientWidth))"""
_NAME = """((e) => !e || e === document.body ? '' :
    `${e.tagName} ${e.getAttribute('aria-label') || e.textContent}`.trim())"""


def _check_tab(page):
  """Presses Tab through the whole page, and checks the focus at each step.

  Like all checks here, it returns a list with a description of each problem.
  """
  wanted = page.run(f'{_CONTROLS}.map({_NAME})')
  page.run('document.activeElement.blur(), scrollTo(0, 0)')
  reached, unseen = [], []
  for _ in range(len(wanted)):
    page.press('Tab')
    reached.append(page.run(f'{_NAME}(document.activeElement)'))
    outline = page.run(
        'getComputedStyle(document.activeElement).outlineStyle')
    if outline == 'none':
      unseen.append(reached[-1])
  problems = [f'focus not seen: {name}' for name in unseen]
  if reached != wanted:
    at = next(i for i, pair in enumerate(zip(reached, wanted, strict=True))
              if pair[0] != pair[1])
    problems.append(
        f'Tab {at + 1} reaches {reached[at]!r}, not {wanted[at]!r}')
  return problems


def _check_sort(page):
  """Checks that Enter sorts each column of the first list in both orders."""
  problems = []
  columns = page.run("document.querySelectorAll('.cases th[aria-sort]').length")
  for i in range(columns):
    head = f"document.querySelectorAll('.cases th[aria-sort]')[{i}]"
    page.run(f"{head}.setAttribute('aria-sort', 'none')")
    page.run(f"{head}.querySelector('button').focus()")
    for wanted in ('ascending', 'descending'):
      page.press('Enter')
      order = page.run(f"{head}.getAttribute('aria-sort')")
      values = page.run(
          f"[...{head}.closest('table').tBodies[0].rows].map("
          f"(r) => r.cells[{head}.cellIndex].dataset.v)")
      if order != wanted:
        problems.append(f'column {i} is {order}, not {wanted}')
      numbers = [float(v) for v in values if v is not None]
      known = [v for v in numbers if not math.isnan(v)]
      if known != sorted(known, reverse=wanted == 'descending'):
        problems.append(f'column {i} is not {wanted}')
      if any(map(math.isnan, numbers[:len(known)])):
        problems.append(f'column {i} does not end with what is missing')
    if page.run(f"document.activeElement !== {head}.querySelector('button')"):
      problems.append(f'column {i} loses the focus')
  return problems


def _check_viewer(page):
  """Checks the keys that select a case, open it in the viewer and close it."""
  row = "document.activeElement.closest('tr').rowIndex"
  is_open = "document.getElementById('viewer').open"
  title = "document.querySelector('#viewer h2').textContent"
  page.run("document.querySelector('.cases .open[tabindex=\"0\"]').focus()")
  seen = [page.run(row)]
  for keys in (('ArrowDown',), ('ArrowDown', 'ArrowUp'), ('End',), ('Home',)):
    page.press(*keys)
    seen.append(page.run(row))
  last = page.run("document.querySelector('.cases tbody').rows.length")
  problems = []
  if seen != [1, 2, 2, last, 1]:
    problems.append(f'arrow keys reach rows {seen}')
  page.press('Enter')
  first = page.run(title)
  images = page.run("document.querySelectorAll('#viewer img').length")
  if not page.run(is_open) or not images:
    problems.append('Enter does not open the viewer')
  page.press('ArrowRight')
  if page.run(title) == first:
    problems.append('the arrow key shows no other case')
  for _ in range(4):  # The focus must stay within the viewer.
    page.press('Tab')
    if page.run("!['', 'viewer'].includes((document.activeElement.closest("
                "'dialog') || {id: document.activeElement === document.body ?"
                " '' : 'out'}).id)"):
      problems.append('Tab leaves the viewer')
  page.press('Escape')
  if page.run(is_open):
    problems.append('Escape does not close the viewer')
  if page.run(row) != 2:
    problems.append('the focus does not return to the case last seen')
  return problems


def _check_slider(page):
  """Checks the keys and the buttons of the first slider over slices."""
  place = ("(({top, height}, {y}) => Math.round((y - top) / height))("
           "document.querySelector('.strip').getBoundingClientRect(), "
           "document.querySelector('.strip img').getBoundingClientRect())")
  slider = "document.querySelector('.volume input')"
  count = int(page.run(f'{slider}.max'))
  page.run(f'{slider}.focus()')
  problems = []
  for key, wanted in (('Home', 0), ('ArrowRight', 1), ('ArrowUp', 2),
                      ('ArrowLeft', 1), ('End', count)):
    page.press(key)
    if page.run(place) != -wanted:
      problems.append(f'{key} shows slice {-page.run(place)}, not {wanted}')
  if page.run("document.querySelector('.volume button').click(), "
              f'{place} + Number({slider}.value)'):
    problems.append('a button shows another slice than the slider')
  return problems


def _check_filter(page):
  page.run("document.querySelector('.cases input').focus()")
  page.call('Input.insertText', text='case_0 1')
  shown = page.run(
      "[...document.querySelector('.cases tbody').rows].filter("
      "(r) => r.checkVisibility()).map((r) => r.textContent)")
  told = page.run("document.querySelector('.cases output').value")
  total = page.run("document.querySelector('.cases tbody').rows.length")
  problems = []
  if any('case_0' not in text for text in shown):
    problems.append('the filter shows what does not match')
  if told != f'{len(shown)} of {total} shown':
    problems.append(f'the filter says {told!r} of {len(shown)} rows')
  return problems


def _check_without_script(page, url):
  page.call('Emulation.setScriptExecutionDisabled', value=True)
  try:
    page.open(url, size=_WIDTHS['desktop'], scheme='light')
    root = page.call('DOM.getDocument')['root']['nodeId']
    count = lambda selector: len(page.call(
        'DOM.querySelectorAll', nodeId=root, selector=selector)['nodeIds'])
    problems = page.complaints(url)
    # Controls that would do nothing without JavaScript must be hidden or
    # disabled.
    if not count('.cases tbody tr') or not count('.tools[hidden]'):
      problems.append('without JavaScript the list is not as it should be')
    if count('.cases button:not([disabled])'):
      problems.append('without JavaScript a button seems to work')
    return problems
  finally:
    page.call('Emulation.setScriptExecutionDisabled', value=False)


def _check(page, path):
  """Runs all checks on a file; maps each check's name to the problems found."""
  url = pathlib.Path(path).resolve().as_uri()
  name = pathlib.Path(path).stem
  results = {}
  for width, scheme in itertools.product(_WIDTHS, _SCHEMES):
    page.open(url, size=_WIDTHS[width], scheme=scheme)
    problems = page.complaints(url)
    wide = page.run('document.documentElement.scrollWidth - innerWidth')
    if wide > 0:
      problems.append(f'{wide} pixels wider than the window')
    results[f'opens, {width}, {scheme}'] = problems
    if scheme == 'light':
      results[f'Tab reaches every control, {width}'] = _check_tab(page)
    if _SCREENSHOTS.value:
      page.screenshot(os.path.join(
          _SCREENSHOTS.value, f'{name}_{width}_{scheme}.png'),
                      whole_page=True, width=_WIDTHS[width][0])
  page.open(url, size=_WIDTHS['desktop'], scheme='light')
  results['Enter sorts'] = _check_sort(page)
  if page.run("!!document.querySelector('.volume')"):
    results['slider'] = _check_slider(page)
  else:
    results['arrows, Enter, Escape'] = _check_viewer(page)
  if _SCREENSHOTS.value:
    page.press('Enter')
    page.screenshot(
        os.path.join(_SCREENSHOTS.value, f'{name}_viewer.png'),
        whole_page=False)
    page.press('Escape')
  results['filter'] = _check_filter(page)
  results['no error while used'] = page.complaints(url)
  results['without JavaScript'] = _check_without_script(page, url)
  return results


def _make_up(folder):
  print('| report | cases | image side | MB | seconds to write, of one core |\n'
        '|---|---|---|---|---|')
  paths = []
  for name, write in synthetic_reports.WRITERS.items():
    path = os.path.join(folder, f'{name}.html')
    start = time.process_time()
    write(path, _NUM_CASES.value, size=_SIZE.value)
    seconds = time.process_time() - start
    print(f'| {name} | {_NUM_CASES.value} | {_SIZE.value} | '
          f'{os.path.getsize(path) / 1e6:.1f} | {seconds:.1f} |')
    paths.append(path)
  print()
  return paths


def main(argv):
  missing = browser.why_not()
  if missing:
    print(f'Skipped: {missing}.')
    return
  if _SCREENSHOTS.value:
    os.makedirs(_SCREENSHOTS.value, exist_ok=True)
  failed = False
  with (tempfile.TemporaryDirectory() as folder,
        browser.open_browser() as page):
    paths = argv[1:] or _make_up(folder)
    print('| report | check | result |\n|---|---|---|')
    for path in paths:
      for name, problems in _check(page, path).items():
        failed |= bool(problems)
        print(f'| {os.path.basename(path)} | {name} | '
              f'{"; ".join(problems) or "ok"} |', flush=True)
  if failed:
    sys.exit(1)


if __name__ == '__main__':
  app.run(main)
