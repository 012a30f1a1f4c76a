"""Images are what a viewer shows, whatever their mode, depth, format and orientation; raw values need a scaling."""

import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from packaging.version import Version
from PIL import Image, ImageOps
from PIL import __version__ as pillow_version

from vireid.boundary.image_files import (
    FORMATS,
    SUFFIXES,
    RawImage,
    has_more_frames,
    is_raw,
    parse_scale_raw,
    read_pixels,
    spelled,
)
from vireid.errors import DamagedFile, NotFinite, UnsafeFile, UnsupportedFile, WrongContent, WrongValue

OLD_PILLOW = Version(pillow_version) < Version('13')
H, W = 5, 3
GRAY = (17 * np.arange(H * W, dtype=np.uint8)).reshape(H, W)  # 0 to 238, all different
COLOR = np.stack([GRAY, GRAY[::-1], 255 - GRAY], axis=2)
LOSSLESS = {'PNG': {}, 'TIFF': {}, 'BMP': {}, 'WEBP': {'lossless': True}, 'PPM': {}, 'JPEG2000': {}, 'GIF': {}}
ENDING = {'JPEG': 'jpg', 'TIFF': 'tif', 'JPEG2000': 'jp2', 'PPM': 'pgm'}
# where the pixel that is stored first is shown, by the EXIF orientation (EXIF 2.32, table of tag 0x0112)
SHOWN = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored),
}


def save(image: Image.Image, folder: Path, kind: str = 'PNG', orientation: int = 1, **options: object) -> Path:
    path = folder / f'image.{ENDING.get(kind, kind.lower())}'
    tags = Image.Exif()
    if orientation != 1:
        tags[0x0112] = orientation
        options['exif'] = tags
    image.save(path, kind, **options)
    return path


def gray(path: Path, **options: object) -> list[list[int]]:
    """Returns the gray levels of an image whose three channels are equal."""
    pixels = read_pixels(path, **options)
    assert (pixels.dtype, pixels.shape[2]) == (np.uint8, 3)
    assert (pixels == pixels[:, :, :1]).all()
    return pixels[:, :, 0].tolist()


@pytest.mark.parametrize('orientation', SHOWN)
@pytest.mark.parametrize('kind', ['PNG', 'WEBP', 'TIFF', 'JPEG', 'JPEG2000'])
def test_the_orientation_of_exif_is_applied(tmp_path: Path, kind: str, orientation: int) -> None:
    large = np.kron(COLOR, np.ones((8, 8, 1), dtype=np.uint8))  # of the blocks that JPEG has
    options = {'quality': 100, 'subsampling': 0} if kind == 'JPEG' else LOSSLESS[kind]
    tagged = 1 if kind == 'JPEG2000' else orientation  # Pillow writes none there
    path = save(Image.fromarray(large), tmp_path, kind, tagged, **options)
    assert np.abs(read_pixels(path).astype(int) - SHOWN[tagged](large)).max() <= (2 if kind == 'JPEG' else 0)


@pytest.mark.parametrize('orientation', [1, 6])
@pytest.mark.parametrize('kind', FORMATS)
@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK', 'YCbCr', 'LAB'])
@pytest.mark.filterwarnings('error')
def test_an_image_of_8_bits_is_read_as_pillow_shows_it(tmp_path: Path, mode: str, kind: str, orientation: int) -> None:
    if (mode, kind) == ('YCbCr', 'TIFF') and OLD_PILLOW:
        pytest.skip('Pillow before 13 cannot read its own files of this kind')
    image = Image.fromarray(COLOR).convert('L').convert(mode) if mode in '1LA' else Image.fromarray(COLOR)
    try:
        path = save(image.convert(mode), tmp_path, kind, orientation)
    except (OSError, ValueError):
        return  # the format has no such mode
    # from bytes: Pillow 13 garbles a TIFF that it both maps into memory and turns
    with Image.open(io.BytesIO(path.read_bytes())) as opened:
        opened.load()  # turns a TIFF
        expected = np.asarray(ImageOps.exif_transpose(opened).convert('RGB'))
    assert np.array_equal(read_pixels(path), expected)
    assert not is_raw(path)


@pytest.mark.parametrize('mode', ['LA', 'RGBA', 'P'])
def test_transparent_pixels_are_white_whatever_color_is_stored_below(tmp_path: Path, mode: str) -> None:
    if mode == 'P':
        image = Image.new('P', (2, 1))
        image.putpalette([10, 10, 10, 40, 40, 40])
        image.putpixel((1, 0), 1)
        image.info['transparency'] = b'\x00\xff'
    else:
        color = (10,) if mode == 'LA' else (10, 10, 10)
        image = Image.new(mode, (2, 1), (*color, 0))
        image.putpixel((1, 0), (*(40 for _ in color), 255))
    assert gray(save(image, tmp_path)) == [[255, 40]]


def test_half_transparent_pixels_are_half_white(tmp_path: Path) -> None:
    image = Image.new('RGBA', (1, 1), (100, 100, 100, 51))  # a fifth
    assert gray(save(image, tmp_path)) == [[224]]  # 255 - (255 - 100) / 5


def test_of_several_frames_the_first_is_read(tmp_path: Path) -> None:
    frames = [Image.new('L', (2, 2), value) for value in (200, 50)]
    for kind in ('GIF', 'TIFF', 'PNG'):
        path = save(frames[0], tmp_path, kind, save_all=True, append_images=frames[1:])
        assert gray(path) == [[200, 200], [200, 200]]


def test_16_bit_colors_are_their_upper_8_bits_as_viewers_show_them(tmp_path: Path) -> None:
    path = tmp_path / 'deep.ppm'
    path.write_bytes(b'P6 1 1 65535\n' + struct.pack('>3H', 0, 25_700, 65_535))
    assert read_pixels(path).tolist() == [[[0, 100, 255]]]


@pytest.mark.filterwarnings('ignore:Corrupt EXIF')
@pytest.mark.parametrize('damage', [b'Exif\0\0', b'Exif\0\0II*\0\xff\xff\xff\xff', b'Exif\0\0MM\0*' + b'\xff' * 40])
def test_damaged_metadata_turn_nothing(tmp_path: Path, damage: bytes) -> None:
    save(Image.fromarray(GRAY), tmp_path, 'PNG', exif=damage)
    assert gray(tmp_path / 'image.png') == GRAY.tolist()


@pytest.mark.parametrize('orientation', [0, 9, 65_535])
def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path: Path, orientation: int) -> None:
    assert gray(save(Image.fromarray(GRAY), tmp_path, orientation=orientation)) == GRAY.tolist()


def raw(values: object, folder: Path, kind: str) -> Path:
    return save(Image.fromarray(np.array(values, dtype=DEPTHS[kind][1])), folder, DEPTHS[kind][0])


DEPTHS = {
    'counts in PNG': ('PNG', np.uint16),
    'counts in TIFF': ('TIFF', np.uint16),
    'counts in JPEG 2000': ('JPEG2000', np.uint16),
    'long counts': ('TIFF', np.int32),
    'degrees': ('TIFF', np.float32),
    'counts in PGM': ('PPM', np.uint16),
}


@pytest.mark.parametrize('kind', DEPTHS)
def test_raw_values_without_a_scaling_are_refused_with_the_lines_to_add(tmp_path: Path, kind: str) -> None:
    path = raw([[7400, 7500], [8000, 8200]], tmp_path, kind)
    assert is_raw(path)
    with pytest.raises(RawImage, match=re.escape(str(path))) as caught:
        read_pixels(path)
    assert caught.value.values[1:] == (7400, 8200)
    assert 'images.scale_raw=percentiles' in caught.value.given
    assert 'images.scale_raw=[7400,8200]' in caught.value.given


@pytest.mark.parametrize('kind', DEPTHS)
def test_fixed_bounds_are_black_and_white(tmp_path: Path, kind: str) -> None:
    path = raw([[7000, 7400, 7600], [7800, 8200, 9000]], tmp_path, kind)
    # (v - 7400) / 800 of 255, cut off outside
    assert gray(path, scale_raw=(7400.0, 8200.0)) == [[0, 0, 64], [128, 255, 255]]


def test_bounds_scale_values_between_0_and_1_too(tmp_path: Path) -> None:
    assert gray(raw([[0, 0.2, 1]], tmp_path, 'degrees'), scale_raw=(0.0, 1.0)) == [[0, 51, 255]]
    assert gray(raw([[-10, 0, 40]], tmp_path, 'degrees'), scale_raw=(-10.0, 40.0)) == [[0, 51, 255]]


def test_percentiles_leave_a_dead_pixel_out(tmp_path: Path) -> None:
    values = np.linspace(7400, 8200, 1000).reshape(20, 50).round()
    values[3, 3] = 0  # a dead pixel would turn all others white
    levels = np.array(gray(raw(values, tmp_path, 'counts in PNG'), scale_raw='percentiles'))
    low, high = np.percentile(values, [1, 99])
    assert np.array_equal(levels, np.rint(255 * ((values - low) / (high - low)).clip(0, 1)))
    assert len(np.unique(levels)) > 240


def test_percentiles_that_are_equal_give_way_to_the_least_and_greatest_value(tmp_path: Path) -> None:
    values = np.full((20, 50), 7400)
    values[0, :3] = 7500, 7600, 7800  # three of a thousand
    assert gray(raw(values, tmp_path, 'counts in PNG'), scale_raw='percentiles')[0][:4] == [64, 128, 255, 0]


@pytest.mark.parametrize(
    'bounds', [(0.0, 7000.0), (9000.0, 1e4), (8200.0, 9000.0), (7500.0, 7500.0), (2.0, 1.0), (0.0, 1e9)]
)
def test_bounds_that_make_an_image_one_gray_are_refused(tmp_path: Path, bounds: tuple[float, float]) -> None:
    with pytest.raises(RawImage, match=re.escape(f'images.scale_raw={spelled(bounds)} ')):
        read_pixels(raw([[7400, 8200]], tmp_path, 'counts in PNG'), scale_raw=bounds)


def test_the_flag_takes_percentiles_or_two_increasing_numbers() -> None:
    assert parse_scale_raw(None) is None
    assert parse_scale_raw('percentiles') == 'percentiles'
    assert parse_scale_raw('[7400,8200]') == (7400.0, 8200.0)
    for text in ('7400', '1,2,3', 'low,high', '8200,7400', '5,5', 'nan,1', '0,inf'):
        with pytest.raises(WrongValue, match=re.escape(repr(text))):
            parse_scale_raw(text)


def test_an_image_of_one_raw_value_is_refused_as_blank(tmp_path: Path) -> None:
    with pytest.raises(RawImage) as caught:
        read_pixels(raw([[7, 7]], tmp_path, 'counts in PNG'), scale_raw='percentiles')
    assert 'images.scale_raw' in caught.value.given
    assert 'images.scale_raw' not in caught.value.todo  # it cannot help


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_raw_values_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    with pytest.raises(NotFinite, match=r'image\.tif'):
        read_pixels(raw([[1, value]], tmp_path, 'degrees'), scale_raw='percentiles')


def test_raw_images_are_turned_upright_too(tmp_path: Path) -> None:
    values = GRAY.astype(np.uint16) * 100
    for kind in ('PNG', 'TIFF'):
        path = save(Image.fromarray(values), tmp_path, kind, orientation=6)
        assert gray(path, scale_raw=(0.0, 25_500.0)) == np.rot90(GRAY, -1).tolist()


@pytest.mark.parametrize('depth', [np.uint16, np.float32])
def test_a_raw_tiff_whose_zero_is_white_is_read_so(tmp_path: Path, depth: type) -> None:
    path = tmp_path / 'image.tif'
    Image.fromarray(np.array([[0, 51, 255]], dtype=depth)).save(path, tiffinfo={262: 0})
    assert gray(path, scale_raw=(0.0, 255.0)) == [[255, 204, 0]]


def test_images_of_8_bits_are_never_scaled(tmp_path: Path) -> None:
    path = save(Image.fromarray(GRAY), tmp_path)
    assert gray(path, scale_raw='percentiles') == gray(path, scale_raw=(3.0, 4.0)) == GRAY.tolist()


@given(
    values=arrays.arrays(np.uint16, (4, 6), elements=st.integers(0, 65_535)),
    bounds=st.tuples(st.integers(0, 65_535), st.integers(0, 65_535)).map(sorted),
)
@settings(max_examples=60, deadline=None)
def test_a_scaling_never_changes_the_order_of_values(values: np.ndarray, bounds: list[int]) -> None:
    file = io.BytesIO()
    Image.fromarray(values).save(file, 'PNG')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('vireid.boundary.image_files.open_regular', lambda path: file)
        for scaling in ('percentiles', tuple(map(float, bounds))):
            file.seek(0)
            file.close = lambda: None  # type: ignore[method-assign]
            try:
                levels = read_pixels('x.png', scale_raw=scaling)[:, :, 0]
            except RawImage:
                continue
            order = np.argsort(values, axis=None)
            assert (np.diff(levels.ravel()[order].astype(int)) >= 0).all()
            assert len(np.unique(levels)) > 1 or len(np.unique(values)) == 1


def test_every_format_that_is_read_has_its_usual_suffix() -> None:
    for kind in FORMATS:
        Image.init()
        usual = {suffix for suffix, of in Image.registered_extensions().items() if of == kind}
        assert usual & set(SUFFIXES), kind


def test_a_kind_that_pillow_does_not_know_is_said_to_be_one(tmp_path: Path) -> None:
    """64-bit values of a TIFF, and 12 bits of a JPEG: it says what the file is, and that converting it helps."""
    save(Image.fromarray(GRAY.astype(np.int32)), tmp_path, 'TIFF')
    tiff, jpeg = tmp_path / 'image.tif', save(Image.fromarray(GRAY), tmp_path, 'JPEG')
    tag = struct.pack('<HHI', 258, 3, 1)  # BitsPerSample, of one 16-bit number
    assert tiff.read_bytes().count(tag) == 1
    tiff.write_bytes(tiff.read_bytes().replace(tag + b'\x20', tag + b'\x40'))
    frame = b'\xff\xc0\x00\x0b'  # of one channel; the precision follows
    assert jpeg.read_bytes().count(frame) == 1
    jpeg.write_bytes(jpeg.read_bytes().replace(frame + b'\x08', frame + b'\x0c'))
    for path, kind in ((tiff, 'TIFF'), (jpeg, 'JPEG')):
        with pytest.raises(DamagedFile, match=f'{path.name}.* {kind} ') as caught:
            read_pixels(path)
        assert 'PNG' in caught.value.todo
    other = tmp_path / 'photo.jpg'
    other.write_bytes(b'\0\0\0\x18ftypheic' + bytes(100))  # as a telephone writes it
    with pytest.raises(UnsupportedFile, match=', '.join(FORMATS)):
        read_pixels(other)


@pytest.mark.parametrize(
    ('content', 'limit'),
    [
        (b'P2\n40 40\n255\n' + b'#\n' * 5_000_000, '8 MiB'),
        (b'P2\n40 40\n255\n' + b'#\n' * 5_000, '1000'),
        (b'P5\n' + b'#' * 60_000_000, '8 MiB'),
        (b'P5\n' + b'#' * 60_000_000 + b'\n40 40\n255\n', '8 MiB'),
        (b'P3\n2000 2000\n255\n' + b'12 ' * 12_000_000, '8 MiB'),
    ],
    ids=['comments as text', 'comments', 'one long comment', 'one that ends', 'text'],
)
def test_text_that_takes_minutes_to_read_is_refused(tmp_path: Path, content: bytes, limit: str) -> None:
    path = tmp_path / 'image.pgm'
    path.write_bytes(content)
    with pytest.raises(UnsafeFile, match=rf'image\.pgm .*\b{limit}\b') as caught:
        read_pixels(path)
    assert 'PNG' in caught.value.todo
    assert not is_raw(path)


def test_comments_and_numbers_as_text_are_read(tmp_path: Path) -> None:
    path = tmp_path / 'image.pgm'
    path.write_bytes(b'P2\n# of a program\n3 2\n#another\n255\n0 1 2\n3 4 255\n')
    assert gray(path) == [[0, 1, 2], [3, 4, 255]]
    bitmap = tmp_path / 'bitmap.pbm'
    bitmap.write_bytes(b'P4\n# 16 x 2\n16 2\n' + b'##\xff\x00')
    assert gray(bitmap)[1] == [0] * 8 + [255] * 8
    large = tmp_path / 'large.pbm'
    large.write_bytes(b'P4\n1024 1024\n' + b'#' * (1024 * 128))
    assert read_pixels(large).shape == (1024, 1024, 3)


@pytest.mark.parametrize('progressive', [True, False])
def test_a_scan_that_is_repeated_hundreds_of_times_is_refused(tmp_path: Path, progressive: bool) -> None:
    path = save(Image.fromarray(COLOR), tmp_path, 'JPEG', progressive=progressive)
    content = path.read_bytes()
    assert read_pixels(path).shape == (H, W, 3)
    last = content[content.rindex(b'\xff\xda') : -2]
    path.write_bytes(content[:-2] + last * 200 + content[-2:])
    with pytest.raises(UnsafeFile, match=r'image\.jpg .*\b2\d\d\b'):
        read_pixels(path)


def png(*chunks: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(COLOR).save(buffer, 'PNG')
    return buffer.getvalue()[:33] + b''.join(chunks) + buffer.getvalue()[33:]


@pytest.mark.parametrize(
    ('content', 'limit'),
    [
        (b'Pf\n#' + b'x' * 1_000_000, '8 MiB'),
        (b'\xff\xd8' + b'\xff' * 1_000_000, '2,000'),
        (b'\xff\xd8' + b'\xff\xfe\x00\x02' * 250_000, '2,000'),
        (b'\xff\xd8' + b'x' * 1_000_000, '2,000'),
        (png(*[b'\0\0\0\0prVt' + zlib.crc32(b'prVt').to_bytes(4, 'big')] * 100_000), '100,000'),
    ],
    ids=['comment', 'filling', 'segments', 'nothing', 'chunks'],
)
def test_headers_that_pillow_would_read_for_minutes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, limit: str
) -> None:
    (tmp_path / 'image.jpg').write_bytes(content)
    monkeypatch.setattr(Image, 'open', lambda *args, **kwargs: pytest.fail('it was read'))
    with pytest.raises(UnsafeFile, match=rf'image\.jpg .*\b{limit}\b') as caught:
        read_pixels(tmp_path / 'image.jpg')
    assert 'PNG' in caught.value.todo


def test_a_profile_in_many_segments_and_filling_bytes_are_read(tmp_path: Path) -> None:
    path = save(Image.fromarray(COLOR), tmp_path, 'JPEG', icc_profile=bytes(65_000 * 200))
    content = path.read_bytes()
    path.write_bytes(content[:2] + b'\xff' * 10 + content[2:])
    assert read_pixels(path).shape == (H, W, 3)


def test_a_tile_larger_than_the_largest_image_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / 'image.tif'
    # width, height, bits, no compression, black is zero, channels, the tile: its width, length, place and bytes
    shorts = [(256, 8), (257, 8), (258, 8), (259, 1), (262, 1), (277, 1)]
    longs = [(322, 32_768), (323, 49_152), (324, 200), (325, 64)]
    entries = [struct.pack('<HHIHH', tag, 3, 1, value, 0) for tag, value in shorts]
    entries += [struct.pack('<HHII', tag, 4, 1, value) for tag, value in longs]
    start = b'II*\0' + struct.pack('<IH', 8, len(entries)) + b''.join(entries) + bytes(4)
    path.write_bytes(start.ljust(200, b'\0') + bytes(64))
    with pytest.raises(UnsafeFile, match='32,768 x 49,152'):
        read_pixels(path)


class TestDepthAndSign:
    """Of files whose values Pillow gives without their sign or with fewer bits."""

    def test_signed_bytes_are_raw(self, tmp_path: Path) -> None:
        values = np.array([[-128, -1], [0, 127]], dtype=np.int8)
        path = tmp_path / 'image.tif'
        Image.fromarray(values.view(np.uint8)).save(path, tiffinfo={339: 2})
        assert is_raw(path)
        with pytest.raises(RawImage, match=r'8-bit .*-128 .*\b127\b'):
            read_pixels(path)
        assert read_pixels(path, scale_raw=(-128, 127))[:, :, 0].tolist() == [[0, 127], [128, 255]]

    def test_unsigned_words_above_two_to_the_31_stay_positive(self, tmp_path: Path) -> None:
        values = np.array([[2**31 - 100, 2**31 - 1], [2**31, 2**31 + 100]], dtype=np.uint32)
        path = tmp_path / 'image.tif'
        Image.fromarray(values.view(np.int32)).save(path)
        content, signed = path.read_bytes(), struct.pack('<HHIHH', 339, 3, 1, 2, 0)
        assert content.count(signed) == 1
        path.write_bytes(content.replace(signed, struct.pack('<HHIHH', 339, 3, 1, 1, 0)))
        gray = read_pixels(path, scale_raw=(2**31 - 100, 2**31 + 100))[:, :, 0]
        assert gray.tolist() == [[0, 126], [128, 255]]

    @pytest.mark.parametrize('kind', ['png', 'ppm', 'tif'])
    def test_gray_in_three_equal_channels_of_16_bits_is_refused_and_colors_are_read(
        self, tmp_path: Path, kind: str
    ) -> None:
        counts = np.arange(7400, 7400 + H * W).reshape(H, W)
        for name, channels in (('gray', [counts] * 3), ('color', [counts, 3 * counts, 8 * counts])):
            (tmp_path / f'{name}.{kind}').write_bytes(deep(np.stack(channels, axis=2).astype('>u2'), kind))
        with pytest.raises(UnsupportedFile, match=rf'gray\.{kind}') as caught:
            read_pixels(tmp_path / f'gray.{kind}')
        assert 'images.scale_raw' in caught.value.todo
        assert read_pixels(tmp_path / f'color.{kind}').shape == (H, W, 3)

    def test_bounds_that_leave_two_grays_of_many_values_are_refused(self, tmp_path: Path) -> None:
        values = np.arange(7400, 7400 + H * W, dtype=np.uint16).reshape(H, W)
        values[0, 0] = 0  # a dead pixel
        Image.fromarray(values).save(tmp_path / 'image.png')
        with pytest.raises(RawImage, match=re.escape('images.scale_raw=[0,1] ')):
            read_pixels(tmp_path / 'image.png', scale_raw=(0, 1))
        Image.fromarray((values > 0).astype(np.uint16)).save(tmp_path / 'image.png')
        assert set(read_pixels(tmp_path / 'image.png', scale_raw=(0, 1)).ravel().tolist()) == {0, 255}


def deep(values: np.ndarray, kind: str) -> bytes:
    """Returns a file of (H, W, 3) big-endian 16-bit values, which Pillow does not write."""
    if kind == 'ppm':
        return b'P6 %d %d 65535\n' % (W, H) + values.tobytes()
    if kind == 'png':
        lines = b''.join(b'\0' + line.tobytes() for line in values)
        header = struct.pack('>IIBBBBB', W, H, 16, 2, 0, 0, 0)
        parts = ((b'IHDR', header), (b'IDAT', zlib.compress(lines)), (b'IEND', b''))
        chunks = [struct.pack('>I', len(p)) + t + p + struct.pack('>I', zlib.crc32(t + p)) for t, p in parts]
        return b'\x89PNG\r\n\x1a\n' + b''.join(chunks)
    # width, height, bits (at 8), no compression, RGB, place of the values, channels, rows of the strip, its bytes
    tags = [(256, 4, 1, W), (257, 4, 1, H), (258, 3, 3, 8), (259, 3, 1, 1 << 16), (262, 3, 1, 2 << 16)]
    tags += [(273, 4, 1, 200), (277, 3, 1, 3 << 16), (278, 4, 1, H), (279, 4, 1, values.nbytes)]
    start = b'MM\0*' + struct.pack('>I', 16) + struct.pack('>HHHH', 16, 16, 16, 0)
    start += struct.pack('>H', len(tags)) + b''.join(struct.pack('>HHII', *tag) for tag in tags) + bytes(4)
    return start.ljust(200, b'\0') + values.tobytes()


def test_a_fully_transparent_image_is_refused(tmp_path: Path) -> None:
    for mode in ('LA', 'RGBA'):
        image = Image.fromarray(COLOR).convert(mode)
        image.putalpha(0)
        with pytest.raises(WrongContent, match=r'image\.png'):
            read_pixels(save(image, tmp_path, 'PNG'))


@pytest.mark.skipif(OLD_PILLOW, reason='Pillow before 13 cannot read such files')
def test_associated_alpha_of_gray_becomes_white(tmp_path: Path) -> None:
    values = np.array([[[0, 0], [100, 255]]], dtype=np.uint8)
    path = save(Image.fromarray(values, 'LA'), tmp_path, 'TIFF')
    content = path.read_bytes()
    tag = struct.pack('<HHIHH', 338, 3, 1, 2, 0)  # ExtraSamples: 2 is unassociated alpha, 1 is associated
    assert content.count(tag) == 1
    path.write_bytes(content.replace(tag, struct.pack('<HHIHH', 338, 3, 1, 1, 0)))
    assert read_pixels(path)[0, :, 0].tolist() == [255, 100]


def test_frames_after_the_first_are_noticed(tmp_path: Path) -> None:
    frames = [Image.fromarray(GRAY), Image.fromarray(255 - GRAY)]
    for suffix in ('tif', 'gif', 'webp'):
        frames[0].save(tmp_path / f'one.{suffix}')
        frames[0].save(tmp_path / f'two.{suffix}', save_all=True, append_images=frames[1:])
        assert not has_more_frames(tmp_path / f'one.{suffix}')
        assert has_more_frames(tmp_path / f'two.{suffix}')
    (tmp_path / 'damaged.tif').write_bytes(b'II*\0')
    assert not has_more_frames(tmp_path / 'damaged.tif')


def test_neither_an_empty_file_nor_a_folder_is_blamed_for_its_format(tmp_path):
    (tmp_path / 'a.jpg').touch()
    (tmp_path / 'b.jpg').mkdir()
    for path in tmp_path.iterdir():
        with pytest.raises(DamagedFile, match=path.name) as caught:
            read_pixels(path)
        assert FORMATS[0] not in str(caught.value)
