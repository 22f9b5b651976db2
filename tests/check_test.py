r"""Tests of the check: the bad inputs by number, and odd but valid sets.

Each row of `BAD` is one kind of bad input. Each row of `ODD_BUT_VALID` is a
valid set that gives at most a notice. The names of the tests begin with the
number in the list of bad inputs. These inputs are tested elsewhere or not:

  3 orphan masks: 78 here; in folders: tests of the importers
  5, 6, 8, 19 to 31, 42 files and headers of volumes: volumes_test
  9 no permission: a test of its own below
  17 near duplicates: tests of data_prep.checks.duplicates
  18 checksum: a manifest holds none
  43, 44, 47, 49 NaN, infinity, outliers, overflow of images: pictures of 8 bits
    cannot hold them, and float pictures are refused here
  48 inverted: looks like a dark picture
  77 fold: tests of the splits
  80, 82, 85, 87, 89 trainer_test; 81, 88 binary_test; 83, 84, 86
    checkpoints_test; 90 for records: input_pipeline_test
"""

import json
import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image

from data_prep import manifest as manifest_lib
from data_prep.checks import check
from data_prep.checks import check_report
from data_prep.checks import check_shape
from data_prep.drawing import rle

from tests.damage import bombs

_HEIGHT, _WIDTH = 20, 24
# Id of the row that a test makes faulty. It is line 5 of the manifest.
_FAULTY = 'd'
_BOX = {'kind': 'box', 'boxes': [[2, 3, 12, 11]], 'labels': [1]}


def _image(seed=0, height=_HEIGHT, width=_WIDTH, channels=3):
  rng = np.random.default_rng(seed)
  return rng.integers(30, 220, (height, width, channels), np.uint8)


def _mask(height=_HEIGHT, width=_WIDTH):
  """Returns a mask with both foreground classes."""
  mask = np.zeros((height, width), np.uint8)
  mask[3:11, 2:12] = 1
  mask[12:18, 14:22] = 2
  return mask


class _Set:
  """A good set on disk for tests to break: 3 images of train, 2 val, 1 test.

  Attributes:
    folder: holds the manifest, images/ and masks/.
    header: first line.
    rows: the other lines by id, in order.
  """

  def __init__(self, folder):
    self.folder = pathlib.Path(folder)
    (self.folder / 'images').mkdir(parents=True)
    (self.folder / 'masks').mkdir()
    self.header = {'manifest_version': 1, 'name': 'tiny', 'root': '.',
                   'classes': ['background', 'polyp', 'tool']}
    self.rows = {}
    self.lines = []  # Further lines of the manifest, as strings.
    for i, (name, split, role) in enumerate((
        ('a', 'train', 'strong'), ('b', 'train', 'strong'),
        ('c', 'train', 'weak'), (_FAULTY, 'train', 'weak'),
        ('v', 'val', 'strong'), ('t', 'test', 'strong'))):
      self.save(f'images/{name}.png', _image(i))
      self.save(f'masks/{name}.png', _mask())
      self.rows[name] = {
          'id': name, 'image': f'images/{name}.png', 'subject': f's_{name}',
          'split': split, 'role': role, 'annotation': dict(_BOX)}
      if role == 'strong':
        self.make_strong(name)

  def save(self, name, array, **kwargs):
    Image.fromarray(array).save(self.folder / name, **kwargs)

  def set(self, row=_FAULTY, **fields):
    self.rows[row].update(fields)

  def draw(self, kind, **fields):
    self.set(annotation={'kind': kind, **fields})

  def make_strong(self, name=_FAULTY, path=None, **fields):
    """Makes a row strong, with a mask that holds both classes."""
    self.set(name, role='strong', annotation={
        'kind': 'mask', 'path': path or f'masks/{name}.png', **fields})

  def mask(self, array, name='masks/d.png', **kwargs):
    """Makes the faulty row strong, with `array` as its mask."""
    self.save(name, array, **kwargs)
    self.make_strong(path=name)

  def coarse(self, array, **fields):
    """Makes the faulty row weak, with `array` as its coarse mask."""
    self.save('masks/d.png', array)
    self.draw('coarse_mask', path='masks/d.png', **fields)

  def classes(self, *names):
    self.header['classes'] = ['background', *names]

  def only(self, *names):
    self.rows = {name: self.rows[name] for name in names}

  def inspect(self):
    path = self.folder / 'manifest.jsonl'
    lines = [json.dumps(x) for x in (self.header, *self.rows.values())]
    path.write_text('\n'.join([*lines, *self.lines]) + '\n')
    return check.inspect_manifest(manifest_lib.read_manifest(path))


def _two_class(s):
  """Leaves one foreground class, so that 255 may seem to mean this class."""
  s.classes('polyp')
  for name in s.rows:
    s.save(f'masks/{name}.png', np.minimum(_mask(), 1))


# Functions that break the set, where an expression is not enough.


def _flip_a_bit(s):
  path = s.folder / 'images/d.png'
  content = bytearray(path.read_bytes())
  content[content.find(b'IDAT') + 40] ^= 4
  path.write_bytes(content)


def _truncate(name):
  def broken(s):
    path = s.folder / name
    path.write_bytes(path.read_bytes()[:-60])
  return broken


def _write(name, content):
  return lambda s: (s.folder / name).write_bytes(content)


def _folder(name):
  def broken(s):
    (s.folder / name).unlink()
    (s.folder / name).mkdir()
  return broken


def _link(name, target):
  def broken(s):
    (s.folder / name).unlink()
    (s.folder / name).symlink_to(target)
  return broken


def _link_out(s):
  elsewhere = s.folder.parent / 'elsewhere.png'
  os.replace(s.folder / 'images/d.png', elsewhere)
  (s.folder / 'images/d.png').symlink_to(elsewhere)


def _dots_out(s):
  os.replace(s.folder / 'images/d.png', s.folder.parent / 'd.png')
  s.set(image='../d.png')


def _pipe(s):
  (s.folder / 'images/d.png').unlink()
  os.mkfifo(s.folder / 'images/d.png')


def _not_utf8_name(s):
  name = os.fsdecode(b'images/\xff.png')
  os.replace(s.folder / 'images/d.png', s.folder / name)
  s.set(image=name)


def _only_case(s):
  s.save('images/A.png', _image(99))
  s.set(image='images/A.png')


def _only_case_mask(s):
  s.save('masks/A.png', _mask())
  s.make_strong(path='masks/A.png')


def _composed_name(s):
  # macOS stores an accent as a separate character in file names.
  os.replace(s.folder / 'images/d.png', s.folder / 'images/e\u0301.png')
  s.set(image='images/\u00e9.jpg')


def _exact_copy(s):
  # The file format differs, but the pixels are the same.
  s.save('images/v.bmp', _image(0))
  s.set('v', image='images/v.bmp')


def _rotated(s):
  exif = Image.Exif()
  exif[0x0112] = 6
  s.save('images/d.jpg', _image(3), exif=exif)
  s.set(image='images/d.jpg')
  s.make_strong()
  # The mask has the size of the image after its rotation.
  s.save('masks/d.png', _mask().T)


def _save_as(name, picture, **kwargs):
  def broken(s):
    picture.save(s.folder / name, **kwargs)
    s.set(image=name)
  return broken


def _frames(s):
  first, *rest = (Image.fromarray(_image(i)) for i in range(3, 6))
  first.save(s.folder / 'images/d.tif', save_all=True, append_images=rest)
  s.set(image='images/d.tif')


def _mask_frames(s):
  first, *rest = (Image.fromarray(_mask()) for _ in range(4))
  first.save(s.folder / 'masks/d.tif', save_all=True, append_images=rest)
  s.make_strong(path='masks/d.tif')


def _zero_255(s):
  _two_class(s)
  s.mask(np.minimum(_mask(), 1) * 255)


def _zero_255_weak(s):
  _two_class(s)
  for name in ('a', 'b', 'v', 't'):
    s.save(f'masks/{name}.png', np.zeros((_HEIGHT, _WIDTH), np.uint8))
  s.coarse(np.minimum(_mask(), 1) * 255)


def _jpeg_mask(s):
  s.mask(np.minimum(_mask(), 1) * 255, 'masks/d.jpg', quality=60)


def _resized_mask(s):
  small = Image.fromarray(np.minimum(_mask(60, 60), 1) * 255)
  s.mask(np.asarray(small.resize((_WIDTH, _HEIGHT), Image.Resampling.BICUBIC)))


def _gray_mask(s):
  s.mask(np.linspace(0, 255, _HEIGHT * _WIDTH).astype(np.uint8).reshape(
      _HEIGHT, _WIDTH))


def _float_mask(value):
  def broken(s):
    mask = _mask().astype(np.float32)
    mask[4, 4] = value
    s.mask(mask, 'masks/d.tif')
  return broken


def _colour_mask(s):
  s.mask(np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)[_mask()])


def _deep_colour_mask(s):
  rows = (b'\0' + b'\0\1' * 3 * _WIDTH) * _HEIGHT
  (s.folder / 'masks/d.png').write_bytes(
      bombs.png(_WIDTH, _HEIGHT, rows, bits=16, colour=2))
  s.make_strong()


def _deep_colour(s):
  rows = (b'\0' + b'\7\1' * 3 * _WIDTH) * _HEIGHT
  (s.folder / 'images/d.png').write_bytes(
      bombs.png(_WIDTH, _HEIGHT, rows, bits=16, colour=2))


def _image_as_mask(s):
  s.save('images/d.png', _image(3, channels=1)[..., 0])
  s.make_strong(path='images/./d.png')


def _copied_image_as_mask(s):
  s.save('images/d.png', _image(3, channels=1)[..., 0])
  s.mask(_image(3, channels=1)[..., 0])


def _unlabelled_in_strong(s):
  mask = _mask()
  mask[0, :5] = 255
  s.mask(mask)


def _transparent(channels):
  pixels = _image(3, channels=channels)
  pixels[..., -1] = 255
  pixels[0, 0, -1] = 7
  return lambda s: s.save('images/d.png', pixels)


def _transparent_palette(s):
  picture = Image.fromarray(_image(3)).quantize(8)
  picture.save(s.folder / 'images/d.png', transparency=1)


def _rle(height=_HEIGHT, width=_WIDTH):
  return rle.encode_rle(_mask(height, width) == 1)


def _draw(kind, **fields):
  return lambda s: s.draw(kind, **fields)


def _polygon(*corners):
  return _draw('polygon', polygons=[[list(c) for c in corners]], labels=[1])


def _row(row=_FAULTY, **fields):
  return lambda s: s.set(row, **fields)


def _strong_mask(mask, **kwargs):
  return lambda s: s.mask(mask, **kwargs)


def _coarse(mask, **fields):
  return lambda s: s.coarse(mask, **fields)


def _only(*names):
  return lambda s: s.only(*names)


def _line(text):
  return lambda s: s.lines.append(text)


def _bowtie(s):
  _polygon((2, 2), (18, 16), (18, 2), (2, 16))(s)


_D = 'line 5, id d, '
_IMAGE = _D + 'image: '
_MASK = _D + r'annotation\.path: '

# Name of the test, which begins with the number in the list of bad inputs;
# function that breaks the set; and pattern of the whole message.
BAD = (
    ('01_missing_image', _row(image='images/no.png'),
     _IMAGE + r'image not found, found images/no\.png; put it below .*'),
    ('01_missing_image_other_suffix', _row(image='images/d.jpg'),
     _IMAGE + r"image not found, found images/d\.jpg; did you mean 'd\.png'\?"),
    ('01_missing_image_other_accent', _composed_name,
     _IMAGE + r'image not found, .*; did you mean .*'),
    ('01_root_is_missing', lambda s: s.header.update(root='no'),
     r'line 1: the root is not a folder, found .*/no; correct `root`.*'),
    ('02_missing_mask', lambda s: s.make_strong(path='masks/no.png'),
     _MASK + r'mask not found, found masks/no\.png; put it below .*'),
    ('02_missing_truth',
     _row(evaluation={'truth': {'kind': 'mask', 'path': 'masks/no.png'}}),
     _D + r'evaluation\.truth\.path: mask not found, found masks/no\.png; put'
     r' .*'),
    ('04_zero_bytes', _write('images/d.png', b''),
     _IMAGE + r'image is empty, 0 bytes, found images/d\.png; replace the .*'),
    ('04_zero_bytes_mask',
     lambda s: (s.make_strong(), _write('masks/d.png', b'')(s)),
     _MASK + r'mask is empty, 0 bytes, found masks/d\.png; replace the file'),
    ('05_truncated', _truncate('images/d.png'),
     _IMAGE + r'image cannot be read: .*, found images/d\.png; replace .*'),
    ('05_truncated_mask',
     lambda s: (s.make_strong(), _truncate('masks/d.png')(s)),
     _MASK + 'mask cannot be read: a damaged PNG of 20 x 24, found .*; .*'),
    ('06_bit_flipped', _flip_a_bit,
     _IMAGE + r'image cannot be read: broken PNG file .*, found images/d\.png; '
     'replace the file'),
    ('07_text_named_png', _write('images/d.png', b'hello, hello'),
     _IMAGE + r"image cannot be read: not a picture, it starts with b'hello,', "
     r'found images/d\.png; replace it by a PNG, .*'),
    ('07_gzip_named_png', _write('images/d.png', b'\x1f\x8b1234'),
     _IMAGE + 'image cannot be read: it is gzip, found .*; replace it by .*'),
    ('07_dicom_named_png', _write('images/d.png', bytes(128) + b'DICM...'),
     _IMAGE + 'image cannot be read: it is DICOM, found .*; replace it by .*'),
    ('10_folder', _folder('images/d.png'),
     _IMAGE + r'image is a folder, expected a file, found images/d\.png; name '
     'one file'),
    ('10_folder_for_mask',
     lambda s: (s.make_strong(), _folder('masks/d.png')(s)),
     _MASK + 'mask is a folder, expected a file, found .*; name one file'),
    ('10_pipe', _pipe,
     _IMAGE + r'image is not a regular file, found images/d\.png; put .*'),
    ('11_dangling_link', _link('images/d.png', 'gone.png'),
     _IMAGE + 'image is a link that leads nowhere, found .*; put the file .*'),
    ('11_link_to_itself', _link('images/d.png', 'd.png'),
     _IMAGE + 'image is a link that leads nowhere, found .*; put the file .*'),
    ('12_link_out_of_the_root', _link_out,
     _IMAGE + r'image lies outside the root, found .*; put the file itself .*'),
    ('12_dots_out_of_the_root', _dots_out,
     _IMAGE + r'image lies outside the root, found .*; put the file itself .*'),
    ('13_not_utf8', _not_utf8_name,
     _IMAGE + r'path holds control characters or is not UTF-8, found .*udcff.*;'
     ' rename the file'),
    ('13_newline_in_id', _row(id='d\n\x1b[31m'),
     r'line 5, id d\\n\\x1b\[31m, id: holds control characters .*; rename it'),
    ('13_zero_in_path', _row(image='images/d\0.png'),
     _IMAGE + r"path holds control .*, found 'images/d\\x00\.png'; rename .*"),
    ('13_control_in_class', lambda s: s.classes('pol\typ', 'tool'),
     r"line 1: a name holds control .*, found 'pol\\typ'; rename it"),
    ('14_duplicate_id', _row(id='a'),
     'line 5, id a, id: duplicate id, first on line 2; give each .*'),
    ('15_case_of_image', _only_case,
     _IMAGE + r"differs only in case from 'images/a\.png' on line 2, found "
     r'images/A\.png; rename one.*'),
    ('15_case_of_mask', _only_case_mask,
     _MASK + r"differs only in case from 'masks/a\.png' on line 2, found "
     r'masks/A\.png; rename one.*'),
    ('15_case_of_id', _row(id='A'),
     "line 5, id A, id: differs only in case from 'a' on line 2, found A; .*"),
    ('16_exact_copy', _exact_copy,
     r'line 6, id v, image: same picture as line 2, which is in train, found '
     r'images/v\.bmp in val; remove one, or keep both in one split'),
    ('19_zero_dimension', _write('images/d.png', bombs.png(0, 4)),
     _IMAGE + 'image cannot be read: a damaged PNG of 4 x 0, found .*; .*'),
    ('20_header_bomb', _write('images/d.png', bombs.png(10**5, 10**5)),
     _IMAGE + r'image declares more than \d+ pixels, found images/d\.png: '
     '10000000000; replace it.*'),
    ('20_smaller_header_bomb', _write('images/d.png', bombs.png(10**4, 10**4)),
     _IMAGE + r'image declares more than \d+ pixels, found .*: 100000000; .*'),
    ('20_header_bomb_as_mask',
     lambda s: (s.make_strong(),
                _write('masks/d.png', bombs.png(10**5, 10**5))(s)),
     _MASK + r'mask declares more than \d+ pixels, found .*; replace it.*'),
    ('20_header_bomb_as_run_lengths', _draw(
        'mask', rles=[{'size': [10**5, 10**5], 'counts': [10**10]}],
        labels=[1]),
     _D + r'annotation\.rles\[0\]: run lengths cannot be read, found 100000 x '
     '100000 pixels are too many; export .*'),
    ('21_stack_of_pictures', _frames,
     _IMAGE + r'image holds several pictures, expected one, found .*3 frames; '
     'save each .*'),
    ('32_stack_of_masks', _mask_frames,
     _MASK + r'mask holds several pictures, expected one, found .*4 frames; '
     'save each .*'),
    ('24_zero_spacing', _row(spacing_mm=[0, 1]),
     _D + r'spacing_mm: expected null or \[y, x\] in mm, both above 0, found .*'
     '; correct it'),
    ('24_negative_spacing', _row(spacing_mm=[1.0, -1.0]),
     _D + 'spacing_mm: expected null or .* both above 0, found .*; correct it'),
    ('33_size_differs', _strong_mask(_mask(30, 30)),
     _MASK + 'mask is of another size than its image, 20 x 24, found 30 x 30; '
     'save both at one size'),
    ('34_differs_by_one', _strong_mask(_mask(_HEIGHT + 1, _WIDTH)),
     _MASK + r'mask is of another size .*, found 21 x 24 \(one pixel off\).*'),
    ('35_transposed', lambda s: s.mask(np.ascontiguousarray(_mask().T)),
     _MASK + r'mask is of another size .*, found 24 x 20 \(transposed\?\); swap'
     ' .*'),
    ('36_exif_rotation', _rotated,
     _IMAGE + r'image has an EXIF rotation tag, expected upright pixels, found '
     'orientation 6; its mask fits the turned picture: turn the pixels, .*'),
    ('38_cmyk', _save_as(
        'images/d.jpg', Image.fromarray(_image(3)).convert('CMYK')),
     _IMAGE + 'expected gray or RGB, found mode CMYK; convert the .*'),
    ('38_lab', _save_as(
        'images/d.tif', Image.merge('LAB', [
            Image.fromarray(c) for c in np.moveaxis(_image(3), -1, 0)])),
     _IMAGE + 'expected gray or RGB, found mode LAB; convert the .*'),
    ('39_transparent_pixel', _transparent(4),
     _IMAGE + 'image has transparent pixels, found alpha 7; save it .*'),
    ('39_transparent_gray', _transparent(2),
     _IMAGE + 'image has transparent pixels, found alpha 7; save it .*'),
    ('40_transparent_palette', _transparent_palette,
     _IMAGE + 'image has transparent pixels, found alpha 0; save it .*'),
    ('41_sixteen_bit', lambda s: s.save(
        'images/d.png', _image(3)[..., 0].astype(np.uint16) * 9),
     _IMAGE + r'expected 8 bits per channel, found pixels of mode I;16; .*'),
    ('41_sixteen_bit_colour', _deep_colour,
     _IMAGE + r'expected 8 bits per channel, found pixels of mode RGB;16; .*'),
    ('43_float_image', _save_as('images/d.tif', Image.fromarray(
        np.full((_HEIGHT, _WIDTH), np.nan, np.float32))),
     _IMAGE + 'expected 8 bits per channel, found pixels of mode F; convert.*'),
    ('41_thirty_two_bit', _save_as('images/d.tif', Image.fromarray(
        _image(3)[..., 0].astype(np.int32) * 1000)),
     _IMAGE + 'expected 8 bits per channel, found pixels of mode I; convert.*'),
    ('43_nan_in_mask', _float_mask(np.nan),
     _MASK + r'mask holds NaN or infinity, found masks/d\.tif; save class .*'),
    ('44_infinity_in_mask', _float_mask(np.inf),
     _MASK + r'mask holds NaN or infinity, found masks/d\.tif; save class .*'),
    ('50_value_above', _strong_mask(_mask() * 3),
     _MASK + r'label value outside the classes, expected 0 \.\. 2, found 3, 6; '
     r'map it: --mask_values=0:0,3:1,6:2, or `values` {"0": 0, "3": 1, '
     r'"6": 2}'),
    ('50_value_not_mapped', lambda s: (s.mask(_mask()), s.make_strong(
        values={'0': 0, '1': 1})),
     _MASK + r'label value outside the classes, expected keys of `values` \(0, '
     r'1\), found 2; add it to --mask_values, or to `values` of a manifest'),
    ('50_value_of_coarse_mask', _coarse(_mask() * 5),
     _MASK + r'label value outside .* 0 \.\. 2 or 255, found 5, 10; map .*'),
    ('51_negative', lambda s: s.mask(
        _mask().astype(np.int32) - 1, 'masks/d.tif'),
     _MASK + 'label value outside the classes, .*, found -1; map it .*'),
    ('52_gap', _strong_mask(np.array([0, 2, 3], np.uint8)[_mask()]),
     _MASK + r'label value outside .*, found 3; map it: '
     r'--mask_values=0:0,2:1,3:2, or `values` {"0": 0, "2": 1, "3": 2}'),
    ('53_zero_and_255', _zero_255,
     _MASK + r'mask holds 0 and 255, expected 0 \.\. 1, found masks/d\.png; '
     r'--mask_values=0:0,255:1, or `values` {"0": 0, "255": 1}'),
    ('53_zero_and_255_weak', _zero_255_weak,
     _MASK + r'mask holds 0 and 255 only, and 255 means unlabelled, found '
     r'masks/d\.png; if 255 is a class, --mask_values=0:0,255:1 or .*'),
    ('54_gray', _gray_mask,
     _MASK + r'a gray picture, not labels, expected 0 \.\. 2, found 256 values '
     r'in 0 \.\. 255; threshold it, .*'),
    ('55_jpeg', _jpeg_mask,
     _MASK + r'noise of JPEG or resizing in a mask, expected 0 \.\. 2, found '
     r'\d+ values in .*; export it as PNG, .*'),
    ('55_resized', _resized_mask,
     _MASK + r'noise of JPEG or resizing in a mask, .*, found \d+ values .*'),
    ('56_fraction', _float_mask(0.5),
     _MASK + r'mask holds fractions, expected class numbers, found 0\.5; .*'),
    ('57_colours', _colour_mask,
     _MASK + r'expected one channel, found masks/d\.png: channels of different '
     'values; map its colours .*'),
    ('57_sixteen_bit_colours', _deep_colour_mask,
     _MASK + 'expected one channel, found 3 channels of 16 bits; save .*'),
    ('59_image_as_mask', _image_as_mask,
     _MASK + r'the image is given as its own mask, found images/\./d\.png; '
     'name the mask'),
    ('59_copy_of_image_as_mask', _copied_image_as_mask,
     _MASK + 'the mask has the pixels of its image, found .*; name the mask'),
    ('64_unlabelled_in_strong', _unlabelled_in_strong,
     _MASK + 'an exact mask has no unlabelled pixel, found 5 pixels of 255.*'),
    ('66_scribble_class', _draw(
        'scribble', strokes=[[[2, 3], [9, 9]]], labels=[3], width=2),
     _D + r'annotation\.labels\[0\]: expected a class in 0 \.\. 2, found 3.*'),
    ('66_scribble_class_in_file',
     lambda s: (s.coarse(_mask() * 9),
                s.draw('scribble', path='masks/d.png')),
     _MASK + 'label value outside the classes, .*, found 9, 18; map it: .*'),
    ('66_scribble_width', _draw(
        'scribble', strokes=[[[2, 3], [9, 9]]], labels=[1], width=0),
     _D + r'annotation\.width: expected a width in pixels above 0, found 0.*'),
    ('67_box_outside', _draw('box', boxes=[[2, 3, 400, 300]], labels=[1]),
     _D + r'annotation\.boxes\[0\]: lies outside the image, 24 wide and 20 high'
     r', found \[2, 3, 400, 300\]; give pixels .*'),
    ('68_box_swapped', _draw('box', boxes=[[9, 3, 2, 8]], labels=[1]),
     _D + r'annotation\.boxes\[0\]: expected .* with x1 > x0 and y1 > y0, found'
     r' \[9, 3, 2, 8\]; swap .*'),
    ('68_flat_ellipse', _draw(
        'ellipse', ellipses=[[9, 9, 0, 3, 0]], labels=[1]),
     _D + r'annotation\.ellipses\[0\]: expected radii above 0, found .*'),
    ('69_point_outside', _draw('points', points=[[9, 40]], labels=[1]),
     _D + r'annotation\.points\[0\]: lies outside the image, .*, found \[9, 40'
     r'\]; give .*'),
    ('69_extreme_point_outside', _draw(
        'extreme_points', extreme_points=[[[1, 5], [5, 1], [90, 5], [5, 9]]],
        labels=[1]),
     _D + r'annotation\.extreme_points\[0\]: lies outside the image.*'),
    ('69_ellipse_outside', _draw(
        'ellipse', ellipses=[[90, 90, 4, 3, 0]], labels=[1]),
     _D + r'annotation\.ellipses\[0\]: lies outside the image.*'),
    ('69_nan_coordinate', _draw(
        'points', points=[[float('nan'), 4]], labels=[1]),
     _D + r'annotation\.points\[0\]: expected \[x, y\], found \[nan, 4\]; .*'),
    ('72_annotation_is_null', _row(annotation=None),
     _D + 'annotation: a weak image needs an annotation, found null; add .*'),
    ('72_annotation_without_shapes', _draw('box', labels=[]),
     _D + r'annotation\.boxes: expected a list, found None; add it, .*'),
    ('73_unknown_kind', _draw('bx', boxes=[], labels=[]),
     _D + r"annotation\.kind: unknown annotation kind, .*, found 'bx'; did .*"),
    ('73_no_kind', _row(annotation={}),
     _D + r'annotation\.kind: unknown annotation kind, .*, found None; use .*'),
    ('73_two_points', _polygon((2, 2), (9, 9)),
     _D + r'annotation\.polygons\[0\]: a polygon needs 3 points, found 2; .*'),
    ('73_self_intersecting', _bowtie,
     _D + r'annotation\.polygons\[0\]: outline crosses itself, its inside is '
     r'ambiguous, found 49\.2 % of its area; give the corners .*'),
    ('73_polygon_elsewhere', _polygon((60, 60), (70, 60), (60, 70)),
     _D + r'annotation\.polygons\[0\]: lies outside the image.*'),
    ('73_run_lengths_of_another_size', _draw(
        'coarse_mask', rles=[_rle(30, 30)], labels=[1]),
     _D + r'annotation\.rles\[0\]: mask is of another size than its image, 20 x'
     ' 24, found 30 x 30; save .*'),
    ('73_run_lengths_transposed', _draw(
        'coarse_mask', rles=[_rle(_WIDTH, _HEIGHT)], labels=[1]),
     _D + r'annotation\.rles\[0\]: mask is of another size .*\(transposed\?\); '
     '.*'),
    ('73_run_lengths_cut_off', _draw(
        'mask', rles=[{'size': [_HEIGHT, _WIDTH], 'counts': [3, 4]}],
        labels=[1]),
     _D + r'annotation\.rles\[0\]: run lengths cannot be read, found counts '
     'hold 7 pixels, not 20 x 24; export .*'),
    ('73_category_not_listed', _draw('tag', labels=[7]),
     _D + r'annotation\.labels\[0\]: expected a class in 1 \.\. 2, found 7.*'),
    ('73_background_box', _draw('box', boxes=[[1, 1, 5, 5]], labels=[0]),
     _D + r'annotation\.labels\[0\]: expected a class in 1 \.\. 2 or 255, '
     'found 0.*'),
    ('73_labels_short', _draw('box', boxes=[[1, 1, 5, 5]], labels=[]),
     _D + r'annotation\.labels: expected as many labels as shapes, 1, found '
     '0; correct it'),
    ('73_strong_box', _row(role='strong'),
     _D + r"annotation\.kind: an exact label is of kind mask, found 'box'; .*"),
    ('74_subject_in_two_splits', _row('v', subject='s_a'),
     "line 6, id v, subject: subject is in val and, on line 2, in train, found "
     "'s_a'; keep all .*"),
    ('75_no_strong', _only('c', _FAULTY, 'v', 't'),
     'manifest: no strong training instance; give .*'),
    ('76_no_weak', _only('a', 'b', 'v', 't'),
     'manifest: no weak training instance; .*--simulate=box .*'),
    ('76_weak_in_val', lambda s: s.set(
        'v', role='weak', annotation=dict(_BOX)),
     "line 6, id v, role: val images are for evaluation .*, found 'weak'; .*"),
    ('76_unlabelled_in_test', lambda s: s.set(
        't', role='unlabelled', annotation=None),
     "line 7, id t, role: test images .*, found 'unlabelled'; give .*"),
    ('79_no_image_at_all', _only(),
     'manifest: the manifest holds no image; add one line per image'),
    ('81_unknown_split', _row(split='training'),
     _D + "split: expected one of .*, found 'training'; did .*"),
    ('81_misspelt_field', _row(anotator='x'),
     _D + 'anotator: unknown field; use one of .*'),
    ('90_not_json', _line('{"id": '),
     r'line 8: not JSON .*; write one JSON object per line'),
)


# Odd but valid sets.


def _palette(s):
  picture = Image.fromarray(_mask())
  picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
  picture.save(s.folder / 'masks/d.png', transparency=0)
  s.make_strong()


def _palette_image(s):
  Image.fromarray(_image(3)).quantize(8).save(s.folder / 'images/d.png')


def _one_bit(s):
  s.mask(_mask() > 0)


def _kinds(s):
  """Gives each kind of annotation one image."""
  mask = _mask()
  s.save('masks/scribble.png', np.where(mask > 0, mask, 255).astype(np.uint8))
  for i, annotation in enumerate((
      {'kind': 'scribble', 'strokes': [[[2, 3], [9, 9]], [[14, 2]]],
       'labels': [1, 0], 'width': 1.5},
      {'kind': 'scribble', 'path': 'masks/scribble.png'},
      {'kind': 'extreme_points', 'labels': [1],
       'extreme_points': [[[2, 6], [6, 3], [12, 7], [5, 11]]]},
      {'kind': 'tag', 'labels': [1, 2]},
      {'kind': 'mask', 'rles': [_rle()], 'labels': [1]},
      {'kind': 'coarse_mask', 'rles': [_rle()], 'labels': [2]},
      {'kind': 'coarse_mask', 'path': 'masks/c.png'},
      {'kind': 'polygon', 'polygons': [[[1, 1], [9, 2], [5, 12]]],
       'labels': [2]},
      {'kind': 'points', 'points': [[4, 5], [20, 1]], 'labels': [1, 0]},
      {'kind': 'ellipse', 'ellipses': [[8, 8, 5, 3, 30]], 'labels': [1]})):
    s.save(f'images/k{i}.png', _image(20 + i))
    s.rows[f'k{i}'] = {
        'id': f'k{i}', 'image': f'images/k{i}.png', 'split': 'train',
        'role': 'weak', 'annotation': annotation}


def _unlabelled(s):
  del s.rows[_FAULTY]['annotation']
  s.set(role='unlabelled')


def _names(s):
  folder = s.folder / 'images/my pictures ü'
  folder.mkdir()
  os.replace(s.folder / 'images/d.png', folder / '内 视 镜.PNG')
  s.set(id='é 1/ü', site='Zürich', annotator='Ørsted, A.', subject='患者 1',
        image='images/my pictures ü/内 视 镜.PNG')


def _jpeg_image(s):
  s.save('images/d.JPG', _image(3), quality=80)
  s.set(image='images/d.JPG')


def _upright(s):
  exif = Image.Exif()
  exif[0x0112] = 1
  s.save('images/d.jpg', _image(3), exif=exif)
  s.set(image='images/d.jpg')


def _opaque(s):
  pixels = _image(3, channels=4)
  pixels[..., 3] = 255
  s.save('images/d.png', pixels)


def _link_inside(s):
  os.replace(s.folder / 'images/d.png', s.folder / 'kept.png')
  (s.folder / 'images/d.png').symlink_to('../kept.png')


def _absolute(s):
  elsewhere = s.folder.parent / 'd.png'
  os.replace(s.folder / 'images/d.png', elsewhere)
  s.set(image=str(elsewhere))


def _linked_root(s):
  (s.folder.parent / 'link').symlink_to(s.folder)
  s.header['root'] = '../link'


def _many_sites(s):
  for i, row in enumerate(s.rows.values()):
    row.update(site=f'site {i}', annotator=f'reader {i % 2}',
               spacing_mm=[0.1 + i, 0.2])


def _other_size(s):
  s.save('images/d.png', _image(3, 37, 19))


def _small_object(s):
  mask = np.zeros((_HEIGHT, _WIDTH), np.uint8)
  mask[4, 5], mask[9:11, 3] = 1, 2
  s.mask(mask)


def _specks(s):
  mask = _mask()
  mask[0, 0] = 1
  s.mask(mask)


def _constant(value):
  return lambda s: s.save(
      'images/d.png', np.full((_HEIGHT, _WIDTH), value, np.uint8))


def _constant_in_two_splits(s):
  for name in ('a', 'v'):
    _constant(0)(s)
    os.replace(s.folder / 'images/d.png', s.folder / f'images/{name}.png')
  s.save('images/d.png', _image(3))


def _copy_in_split(s):
  s.save('images/d.png', _image(0))


def _class_absent(s):
  s.save('masks/v.png', np.minimum(_mask(), 1))


def _truth(mask, **fields):
  def odd(s):
    s.save('masks/d.png', mask)
    s.set(evaluation={'truth': {'kind': 'mask', 'path': 'masks/d.png'}},
          **fields)
  return odd


def _weak_is_truth(s):
  _truth(_mask())(s)
  s.draw('coarse_mask', path='masks/d.png')


def _contradiction(s):
  _truth(_mask())(s)
  s.draw('scribble', strokes=[[[2, 15], [9, 15]]], labels=[1], width=2)


def _agreement(s):
  _truth(_mask())(s)
  s.draw('scribble', strokes=[[[4, 7], [9, 7]], [[18, 2], [20, 2]]],
         labels=[1, 0], width=2)


def _planted(s):
  _contradiction(s)
  s.rows[_FAULTY]['evaluation']['fault'] = 'wrong_place'


def _small_image(s):
  s.save('images/d.png', _image(3, 13, 17))


def _wrong_suffix(s):
  s.save('images/d.png', _image(3), format='JPEG')


def _unlisted(s):
  s.save('images/z.png', _image(9))


def _small_loop(s):
  # An outline may have a slip of the pen: here, a loop of one pixel next to a
  # large square.
  _polygon((2, 2), (16, 2), (16, 16), (15, 17), (16, 17), (15, 16), (2, 16))(s)


# Name of the test; function that changes the set; and words of the only notice,
# or None if there is no notice.
ODD_BUT_VALID = (
    ('nothing_odd', lambda s: None, None),
    ('gray_and_rgb', lambda s: s.save('images/d.png', _image(3)[..., 0]), None),
    ('one_by_n', lambda s: s.save('images/d.png', _image(3, 16, 90)), None),
    ('other_size', _other_size, None),
    ('39_opaque_alpha', _opaque, 'opaque alpha channel; it is dropped'),
    ('36_upright', _upright, None),
    ('40_palette_image', _palette_image, None),
    ('40_palette_mask', _palette, None),
    ('58_one_bit_mask', _one_bit, None),
    ('58_whole_floats', lambda s: s.mask(
        _mask().astype(np.float32), 'masks/d.tif'), None),
    ('58_sixteen_bit_mask', lambda s: s.mask(
        _mask().astype(np.uint16)), None),
    ('57_gray_as_rgb', lambda s: s.mask(
        np.repeat(_mask()[..., None], 3, -1)), None),
    ('53_values', lambda s: (s.mask(_mask() * 127), s.make_strong(
        values={'0': 0, '127': 1, '254': 2})), None),
    ('53_partly_unlabelled', _coarse(
        np.where(_mask() > 0, 255, 0).astype(np.uint8)), 'the mask is empty'),
    ('60_empty_mask', _strong_mask(np.zeros((_HEIGHT, _WIDTH), np.uint8)),
     'the mask is empty'),
    ('61_full_mask', _strong_mask(np.ones((_HEIGHT, _WIDTH), np.uint8)),
     'the mask is full'),
    ('62_class_absent_from_train', lambda s: [
        s.save(f'masks/{n}.png', np.minimum(_mask(), 1)) for n in 'ab'],
     "class 'tool' is absent from train"),
    ('63_class_absent_from_val', _class_absent,
     "class 'tool' is absent from val"),
    ('62_no_test_image', _only('a', 'b', 'c', _FAULTY, 'v'), 'no test image'),
    ('65_specks', _specks, 'specks of at most 3 pixels, found 1 of class 1'),
    ('very_small_object', _small_object, 'class covers fewer than 9 pixels'),
    ('72_no_object', _draw('box', boxes=[], labels=[]),
     'the annotation holds no shape'),
    ('72_nothing_known', _coarse(np.full((_HEIGHT, _WIDTH), 255, np.uint8)),
     'the annotation labels no pixel'),
    ('70_scribble_contradicts', _contradiction,
     'the scribble contradicts its truth'),
    ('70_scribble_agrees', _agreement, None),
    ('70_planted_fault', _planted, None),
    ('71_weak_is_truth', _weak_is_truth,
     'the weak mask is identical to its truth'),
    ('73_small_loop', _small_loop, 'outline crosses itself in small loops'),
    ('73_outline_leaves_the_image',
     _polygon((-3, -3), (30, -1), (4, 19)), None),
    ('73_empty_shape', _draw('coarse_mask', rles=[_rle(), {
        'size': [_HEIGHT, _WIDTH], 'counts': [_HEIGHT * _WIDTH]}],
                              labels=[1, 2]), 'the shape covers no pixel'),
    ('73_thin_box', _draw('box', boxes=[[3, 3, 3.2, 9]], labels=[1]),
     'shape thinner than a pixel'),
    ('67_rounded_box', _draw('box', boxes=[[-0.5, 0, 24.5, 20]], labels=[1]),
     None),
    ('37_small_image', _small_image, 'image smaller than 16 pixels, found 13'),
    ('45_constant', _constant(90), 'the image is constant, found 90'),
    ('46_all_zero', _constant(0), 'the image is all zero'),
    ('48_other_unit', _row(spacing_mm=[300.0, 300.0]), 'unusual spacing'),
    ('07_jpeg_named_png', _wrong_suffix, 'named .png, but holds JPEG'),
    ('16_copy_in_one_split', _copy_in_split, 'same picture as line 2'),
    ('12_link_inside', _link_inside, None),
    ('12_absolute_path', _absolute, None),
    ('12_linked_root', _linked_root, None),
    ('78_unlisted', _unlisted,
     "1 picture of folder 'images' is not in the set"),
    ('unicode_and_spaces', _names, None),
    ('upper_case_suffix', _jpeg_image, None),
    ('many_sites', _many_sites, None),
    ('mixed_kinds', _kinds, None),
    ('unlabelled_row', _unlabelled, None),
    ('unlabelled_with_annotation', _row(role='unlabelled'),
     'an unlabelled image has an annotation'),
    ('one_subject_per_split', lambda s: [
        row.update(subject=row['split']) for row in s.rows.values()], None),
    ('no_subjects', lambda s: [
        row.update(subject='') for row in s.rows.values()], None),
    ('two_zero_images_in_two_splits', _constant_in_two_splits,
     'the image is all zero'),
)


class CheckTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.set = _Set(folder / 'set')

  def inspect(self):
    """Returns the problems and the notices as strings."""
    findings = self.set.inspect()
    # Most tests no longer use some file of the good set, which is noted.
    notices = [n for n in map(str, findings.notices)
               if 'not in the set' not in n or 'z.png' in n]
    return list(map(str, findings.problems)), notices

  @parameterized.named_parameters(*BAD)
  def test_bad_input_gives_one_line(self, make_bad, expected):
    make_bad(self.set)
    problems, _ = self.inspect()
    self.assertLen(problems, 1, problems)
    self.assertRegex(problems[0], f'^{expected}$')
    self.assertLessEqual(len(problems[0]), 200)
    self.assertTrue(problems[0].isprintable())
    # The message names a fix after the semicolon.
    self.assertIn('; ', problems[0])

  @parameterized.named_parameters(*ODD_BUT_VALID)
  def test_odd_but_valid(self, make_odd, words):
    make_odd(self.set)
    problems, notices = self.inspect()
    self.assertEqual(problems, [])
    # Several notices of one kind count once: for example, two images are zero.
    kinds = {notice.split(': ', 1)[1] for notice in notices if words is None
             or words not in notice}
    self.assertEqual(kinds, set())
    if words is not None:
      self.assertNotEmpty([n for n in notices if words in n], notices)

  def test_09_no_permission(self):
    # The superuser may read every file, so the error is simulated.
    real_open = open

    def refuse(path, *args, **kwargs):
      if str(path).endswith('images/d.png'):
        raise PermissionError(13, 'Permission denied')
      return real_open(path, *args, **kwargs)

    with mock.patch('builtins.open', refuse):
      problems, _ = self.inspect()
    self.assertEqual(problems, [
        'line 5, id d, image: no permission to read the image, found '
        'images/d.png; make it readable'])

  def test_all_problems_in_one_pass_in_order_of_lines(self):
    self.set.set('a', image='images/no.png')
    self.set.set('c', annotation={'kind': 'blob'}, split='trian')
    _zero_255(self.set)
    self.set.lines = ['{']
    problems, _ = self.inspect()
    self.assertEqual([p.split(':')[0] for p in problems], [
        'line 2, id a, image', 'line 4, id c, split',
        'line 4, id c, annotation.kind', 'line 5, id d, annotation.path',
        'line 8'])

  def test_facts(self):
    _two_class(self.set)
    self.set.save('images/a.png', _image(5)[..., 0])
    facts = self.set.inspect().facts
    self.assertLen(facts, 6)
    self.assertEqual(facts[0].size, (_HEIGHT, _WIDTH))
    self.assertEqual([f.channels for f in facts[:2]], [1, 3])
    self.assertEqual(
        np.frombuffer(facts[0].counts, np.int64).tolist(), [352, 128, 0])
    self.assertIsNone(facts[2].counts)
    self.assertEqual(facts[2].present, {1})

  def test_class_in_no_picture_is_noted_once_with_the_flag(self):
    self.set.classes('none', 'polyp', 'tool')
    for name, row in self.set.rows.items():
      self.set.save(f'masks/{name}.png', _mask() + (_mask() > 0))
      if row['role'] == 'weak':
        row['annotation'] = dict(_BOX, labels=[2])
    self.inspect()
    findings = check.inspect_manifest(manifest_lib.read_manifest(
        self.set.folder / 'manifest.jsonl'), can_choose=True)
    self.assertEqual(findings.problems, [])
    self.assertEqual(
        [str(n) for n in findings.notices if 'class' in n.what],
        ["manifest: class 'none' is in no picture at all; "
         '--classes=background,polyp,tool leaves it out'])

  def test_long_names_are_not_listed_in_the_flag(self):
    self.set.classes('polyp', 'tool', 'n' * 50, 'm' * 50, 'a' * 60)
    _truth(_mask())(self.set)
    self.set.draw('tag', labels=[3])
    self.inspect()
    findings = check.inspect_manifest(manifest_lib.read_manifest(
        self.set.folder / 'manifest.jsonl'), can_choose=True)
    self.assertEqual(findings.problems, [])
    line, = (str(n) for n in findings.notices if 'no picture' in n.what)
    self.assertEndsWith(line, '; --classes without them leaves them out')
    self.assertLessEqual(len(line), 200)

  def test_no_class_is_shown_anywhere(self):
    for name in self.set.rows:
      self.set.save(f'masks/{name}.png', 0 * _mask())
    for name in ('c', 'd'):
      self.set.set(name, annotation={'kind': 'tag', 'labels': []})
    problems, _ = self.inspect()
    self.assertEqual(problems, [
        'manifest: no picture shows any class but background; correct the '
        'masks, or `values` of their annotations'])
    findings = check.inspect_manifest(manifest_lib.read_manifest(
        self.set.folder / 'manifest.jsonl'), can_choose=True)
    self.assertEndsWith(str(*findings.problems),
                        'see --mask_values, --mask_threshold, --mask_folder')
    # A tag names all classes of its image, just as a mask shows them.
    self.set.draw('tag', labels=[2])
    problems, notices = self.inspect()
    self.assertEqual(problems, [])
    self.assertEqual([n.split('; ')[0] for n in notices if 'class ' in n], [
        "manifest: class 'polyp' is in no picture at all",
        "manifest: class 'tool' is absent from val",
        "manifest: class 'tool' is absent from test"])

  def test_class_that_only_the_truth_shows_is_in_some_picture(self):
    for name in self.set.rows:
      self.set.save(f'masks/{name}.png', 0 * _mask())
    for name in ('c', 'd'):
      self.set.set(name, annotation=None, role='unlabelled')
    self.set.save('masks/c.png', _mask())
    self.set.set('c', evaluation={'truth': {
        'kind': 'mask', 'path': 'masks/c.png'}})
    problems, notices = self.inspect()
    self.assertEqual(problems, [])
    self.assertEmpty([n for n in notices if 'no picture' in n])

  def test_progress(self):
    calls = []
    path = self.set.folder / 'manifest.jsonl'
    self.set.inspect()
    check.inspect_manifest(
        manifest_lib.read_manifest(path),
        progress=lambda *args: calls.append(args))
    self.assertEqual(calls, [(i,) for i in range(1, 7)])


def _problem(what, line, **kwargs):
  return manifest_lib.Problem(what, 'x', 'fix', line, f'i{line}', **kwargs)


class ReportTest(absltest.TestCase):

  def test_groups_in_order_of_their_first_line(self):
    problems = [_problem('gone', 2), _problem('size 3 x 4', 3),
                _problem('gone', 4), _problem('size 9 x 9', 5)]
    lines = check_report.report(check_report.Findings(problems, [], []))
    self.assertEqual([x[:6] for x in lines],
                     ['line 2', 'line 4', 'line 3', 'line 5'])

  def test_many_of_one_kind(self):
    problems = [_problem(f'size {i}', i + 2) for i in range(50)]
    problems.append(_problem('gone', 99))
    lines = check_report.report(check_report.Findings(problems, [], []))
    self.assertEqual(lines, [
        '50 times: size 0, found x; fix: line 2, line 3, line 4, ...',
        'line 99, id i99: gone, found x; fix'])

  def test_notices_are_counted(self):
    notices = [_problem('empty', i, field='annotation') for i in range(7, 19)]
    notices += [_problem("class 'a' is absent", 0)._replace(id=''),
                _problem("class 'b' is absent", 0)._replace(id='')]
    lines = check_report.report(check_report.Findings([], notices, []))
    self.assertEqual(lines, [
        'notice, 12 times, first line 7, id i7, annotation: empty, found x; '
        'fix',
        "notice: manifest: class 'a' is absent, found x; fix",
        "notice: manifest: class 'b' is absent, found x; fix"])

  def test_short_lines(self):
    long = _problem('w' * 400, 1)
    lines = check_report.report(check_report.Findings([long] * 21, [long], []))
    self.assertLen(lines, 2)
    self.assertEndsWith(lines[0], '...; fix: line 1')
    for line in lines:
      self.assertLessEqual(len(line), 200)


class CrossedShareTest(parameterized.TestCase):

  @parameterized.named_parameters(
      ('square', [[0, 0], [4, 0], [4, 4], [0, 4]], 0),
      ('other_way_round', [[0, 4], [4, 4], [4, 0], [0, 0]], 0),
      ('concave', [[0, 0], [4, 0], [4, 4], [2, 1], [0, 4]], 0),
      ('bow_tie', [[0, 0], [4, 4], [4, 0], [0, 4]], 0.5),
      ('twice_round', [[0, 0], [4, 0], [4, 4], [0, 4]] * 2, 1),
      # The inner triangle has half the size of the outer one in each direction.
      ('smaller_again', [[0, 0], [4, 0], [0, 4], [0, 0], [2, 0], [0, 2]], 0.25),
      ('closed_twice', [[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]], 0),
      ('a_slit', [[0, 0], [4, 0], [4, 4], [2, 4], [2, 2], [2, 4], [0, 4]], 0))
  def test_hand_computed(self, vertices, expected):
    share = check_shape.crossed_share(np.array(vertices, float))
    self.assertAlmostEqual(share, expected, delta=0.01 if expected else 0)

  def test_simple_polygons_are_exactly_zero(self):
    rng = np.random.default_rng(0)
    for _ in range(50):
      angles = np.sort(rng.uniform(0, 2 * np.pi, 40))
      radii = rng.uniform(0.5, 30, 40)
      star = radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], -1)
      if np.diff(angles, append=angles[0] + 2 * np.pi).max() < np.pi:
        self.assertEqual(check_shape.crossed_share(star), 0)


if __name__ == '__main__':
  absltest.main()
