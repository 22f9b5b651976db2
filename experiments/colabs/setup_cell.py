import os
import pathlib
import shutil
import subprocess
import sys

# Set this outside a checkout, as on Colab: the address for `git clone`.
REPOSITORY = ''


def is_checkout(folder):
  return (folder / 'hybridseg/__init__.py').is_file() and (
      folder / 'experiments/colabs').is_dir()


def stop(reason):
  raise SystemExit(f'Setup stopped: {reason}')


def last_line(text):
  return (text.strip().splitlines() or ['no reason was given'])[-1]


def clone(address, folder):
  """Clones a repository without asking for a password; stops if that fails."""
  if not address:
    stop('set REPOSITORY in this cell to the address of the repository, as '
         '`git clone` takes it, and run the cell again.')
  if not shutil.which('git'):
    stop('git is not installed; install it, or upload the repository as the '
         f'folder {folder}.')
  done = subprocess.run(
      ['git', 'clone', '--depth=1', '--', address, str(folder)],
      stdin=subprocess.DEVNULL, capture_output=True, text=True,
      env=os.environ | {'GIT_TERMINAL_PROMPT': '0', 'LC_ALL': 'C',
                        'GIT_SSH_COMMAND': 'ssh -oBatchMode=yes'})
  said = lambda *parts: any(x in done.stderr for x in parts)
  if not done.returncode:
    return
  if said('resolve host', 'connect to', 'timed out', 'unreachable'):
    stop('there is no network, or REPOSITORY names no host; switch the '
         'internet on for this notebook and run the cell again.')
  if said('could not read', 'Authentication failed', 'Permission denied',
          'not found', 'error: 403', 'Could not read from remote'):
    stop('the repository is private, or there is none at REPOSITORY; correct '
         f'the address, or upload the repository as the folder {folder}.')
  # An address may hold a password, and notebooks are saved with their outputs.
  reason = last_line(done.stderr).replace(address, 'REPOSITORY')
  stop(f'git could not clone the repository: {reason}')


def install(folder):
  """Installs the packages that the notebooks need; stops if pip fails."""
  done = subprocess.run(
      [sys.executable, '-m', 'pip', 'install', '--disable-pip-version-check',
       '-q', '-e', f'{folder}[run]'], capture_output=True, text=True)
  if done.returncode:
    stop(f'pip could not install the packages: {last_line(done.stderr)}')


def setup():
  """Changes to the checkout that holds this notebook, or clones one."""
  here = pathlib.Path.cwd()
  for folder in (here, *here.parents):
    if is_checkout(folder):
      return os.chdir(folder)
  folder = here / 'hybridseg'
  if not folder.exists():
    clone(REPOSITORY, folder)
  if not is_checkout(folder):
    stop(f'{folder} is there, but it is no checkout of hybridseg; move it '
         'away, correct REPOSITORY if need be, and run the cell again.')
  install(folder)
  os.chdir(folder)


setup()
