"""Decodes image files to pixels as an image viewer shows them; raw sensor values are scaled as the user asks."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from vireid.boundary.image_headers import require_quick
from vireid.boundary.reading import open_regular, reads
from vireid.boundary.showing import error_text
from vireid.errors import (
    DamagedFile,
    Mismatch,
    MissingFile,
    NotFinite,
    UnsafeFile,
    UnsupportedFile,
    VireidError,
    WrongContent,
    WrongValue,
)

# Pillow supports many more, but starts programs for some (PostScript) or opens files that an image names
FORMATS = ('JPEG', 'PNG', 'BMP', 'TIFF', 'WEBP', 'GIF', 'PPM', 'JPEG2000')
SUFFIXES = (
    *('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.dib', '.tif', '.tiff', '.webp', '.gif'),
    *('.pgm', '.ppm', '.pnm', '.pbm', '.pfm', '.jp2', '.j2k', '.jpx', '.jpf', '.j2c', '.jpc'),
)
# of images that Pillow alone does not read
OTHER_FORMATS = ('.heic', '.heif', '.avif', '.jxl', '.dng', '.cr2', '.cr3', '.nef', '.arw', '.npy')
BEGINNINGS = {  # of files of these formats
    **dict.fromkeys((b'II*\0', b'MM\0*', b'II+\0', b'MM\0+'), 'TIFF'),
    **{b'\xff\xd8\xff': 'JPEG', b'\x89PNG': 'PNG', b'\0\0\0\x0cjP': 'JPEG 2000', b'\xff\x4f\xff\x51': 'JPEG 2000'},
}
MAY_BE_RAW = ('.png', '.tif', '.tiff', '.pgm', '.pnm', '.ppm', '.pfm', '.jp2', '.j2k', '.jpx', '.jpf', '.j2c', '.jpc')
MAY_HAVE_FRAMES = ('.tif', '.tiff', '.gif', '.webp')
MAX_PIXELS = 32_000_000  # four 4K frames; decoding takes up to 20 bytes a pixel
ORIENTATION = 0x0112  # the EXIF tag
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0  # a TIFF tag and its value
BITS, SAMPLE_FORMAT, SIGNED = 258, 339, (2,)  # TIFF tags, and the value of signed ones; others are unsigned
TILE_WIDTH, TILE_LENGTH = 322, 323  # TIFF tags
SIZ = b'\xff\x51'  # the segment of a JPEG 2000 file with the bits of each component, 40 bytes later
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# about a damaged file there are thousands, one for each of its tags
warnings.filterwarnings('ignore', module=r'PIL\.TiffImagePlugin')
PERCENTILES = (1, 99)
FEW_VALUES = 8  # images of so few may become black and white
ScaleRaw = Literal['percentiles'] | tuple[float, float] | None


def parse_scale_raw(text: str | None) -> ScaleRaw:
    """Parses `percentiles` or two finite bounds, the lower one first; None stays None.

    Raises:
        WrongValue: for anything else.
    """
    if text is None:
        return None
    if text == 'percentiles':
        return 'percentiles'
    try:
        low, high = map(float, text.strip('[]()').split(','))
        if not -math.inf < low < high < math.inf:
            raise ValueError
    except ValueError:
        allowed = 'percentiles, or two increasing numbers such as 7400,8200'
        raise WrongValue(f'--scale-raw is {text!r}', allowed=allowed) from None
    return low, high


class RawImage(Mismatch):
    """An image of raw values whose scaling is missing or unsuitable: the config has to change, not the image.

    Attributes:
        values: the kind of values, such as `16-bit values`, the minimum and the maximum.
    """

    values: tuple[str, float, float] = ('values', 0.0, 0.0)


@reads('an image', *(f'*{suffix}' for suffix in SUFFIXES), todo='replace it, or leave it out')
def read_pixels(
    path: str | Path,
    max_pixels: int = MAX_PIXELS,
    scale_raw: ScaleRaw = None,
    thumbnail: tuple[int, int] | None = None,
) -> np.ndarray:
    """Decodes an image to (H, W, 3) uint8, as an image viewer shows it.

    Applies the EXIF orientation. Gray images get three equal channels; palettes, CMYK and CIELAB become RGB, 16-bit
    colors keep their upper 8 bits, and transparent pixels become white. A file with several frames gives the first.
    Color profiles are ignored.

    Gray values of more than 8 bits (16-bit, 32-bit, floating-point) have no defined appearance. They raise an error
    unless `scale_raw` gives the values that become black and white; values in between are scaled linearly, values
    outside are clipped.

    Args:
        path: the file, in one of `FORMATS` whatever its suffix.
        max_pixels: larger images raise an error before they are decoded.
        scale_raw: `percentiles` takes the 1st and 99th percentile of each image (the minimum and maximum if these are
            equal); (low, high) applies to all images. 8-bit images are never scaled.
        thumbnail: (width, height) that is sufficient: a JPEG may be decoded at a size just above it.

    Returns:
        (H, W, 3) uint8.

    Raises:
        RawImage: if it has raw values and the scaling is missing or maps all of them to one gray.
        VireidError: if the file is missing, not an image, too large or truncated; the message names it.
    """
    try:
        with open_regular(path) as file:
            return decode_pixels(file, f'image {path}', max_pixels, scale_raw, thumbnail)
    except FileNotFoundError as error:
        raise MissingFile(f'image {path} does not exist', todo='check the path') from error
    except OSError as error:
        raise DamagedFile(
            f'image {path} cannot be read: {_about(error)}', todo='replace it, or leave it out'
        ) from error


def decode_pixels(
    file: BinaryIO,
    name: str,
    max_pixels: int = MAX_PIXELS,
    scale_raw: ScaleRaw = None,
    thumbnail: tuple[int, int] | None = None,
) -> np.ndarray:
    """Decodes an open file to (H, W, 3) uint8.

    Args:
        file: the file, or its bytes in memory.
        name: what messages call it.
        max_pixels: see `read_pixels`.
        scale_raw: see `read_pixels`.
        thumbnail: see `read_pixels`.

    Raises:
        RawImage, VireidError: as `read_pixels`.
    """
    try:
        with open_image(file, name, max_pixels) as image:
            if thumbnail is not None:
                image.draft('RGB', thumbnail)
            deep = _has_deep_colors(image, file)
            image.load()  # Pillow itself rotates a TIFF upright here
            shown = _upright(image)
            if _holds_raw(image):
                gray = _scaled(_raw_values(image, shown), name, scale_raw)
                if _tags(image).get(PHOTOMETRIC) == WHITE_IS_ZERO:
                    gray = 255 - gray  # Pillow inverts 8-bit images only
                return np.repeat(gray[:, :, None], 3, axis=2)
            if shown.mode in ('LA', 'PA', 'La', 'RGBA', 'RGBa') or 'transparency' in shown.info:
                shown = _on_white(shown, name)
            pixels = np.array(shown.convert('RGB'))
            if deep and (pixels == pixels[:, :, :1]).all():
                raise UnsupportedFile(
                    f'{name} has gray values of more than 8 bits, stored as colors or with transparency, of which only '
                    '8 bits can be read',
                    todo='convert it to a gray PNG or TIFF of 16 bits without transparency, and set images.scale_raw',
                )
            return pixels
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        about, todo = _about(error), 'replace it, or leave it out'
        fault: type[VireidError] = UnsafeFile if isinstance(error, Image.DecompressionBombError) else DamagedFile
        if isinstance(error, UnidentifiedImageError):
            file.seek(0)
            begins = file.read(8)
            kind = next((kind for beginning, kind in BEGINNINGS.items() if begins.startswith(beginning)), None)
            if not begins:
                about = 'it is empty'
            elif kind is None:
                fault = UnsupportedFile
            else:
                about = f'it is a damaged {kind} file, or one with values or a compression that Pillow does not support'
                todo = 'convert it, for example to PNG, or leave it out'
        raise fault(f'{name} cannot be read: {about}', todo=todo) from error


def open_image(file: BinaryIO, name: str, max_pixels: float = MAX_PIXELS) -> ImageFile.ImageFile:
    """Reads the header of an image, after checks that neither this nor decoding takes minutes or gigabytes.

    Args:
        file: the file, which must stay open while the image is used.
        name: what messages call it.
        max_pixels: see `read_pixels`.

    Raises:
        UnsafeFile: if it has too many pixels, comments or scans.
        UnidentifiedImageError: if it is not an image.
        OSError, SyntaxError, ValueError: if it is damaged.
    """
    require_quick(file, name)
    image = Image.open(file, formats=FORMATS)
    tags = _tags(image)
    tile = tags.get(TILE_WIDTH, 0), tags.get(TILE_LENGTH, 0)
    for what, (width, height) in (('', image.size), ('tiles of ', tile)):  # a tile is decoded as a whole
        if width * height > max_pixels:
            raise UnsafeFile(
                f'{name} has {what}{width:,} x {height:,} pixels',
                allowed=f'up to {max_pixels:,} pixels',
                todo='crop the people out of it, or raise images.max_pixels',
            )
    return image


def is_raw(path: str | Path) -> bool:
    """Returns whether a header declares raw values; False for damaged files and for suffixes that never have them."""
    if not str(path).lower().endswith(MAY_BE_RAW):
        return False
    try:
        with open_regular(path) as file, open_image(file, f'image {path}', math.inf) as image:
            return _holds_raw(image)
    except Exception:  # a damaged file may fail in any way; reading it reports the error
        return False


def has_more_frames(path: str | Path) -> bool:
    """Returns whether an image has frames or pages after the first, which are never read; False for damaged files."""
    if not str(path).lower().endswith(MAY_HAVE_FRAMES):
        return False
    try:
        with open_regular(path) as file, open_image(file, f'image {path}', math.inf) as image:
            return bool(getattr(image, 'is_animated', False))
    except Exception:  # a damaged file may fail in any way; reading it reports the error
        return False


def _tags(image: Image.Image) -> Mapping[int, Any]:
    """Returns the tags of a TIFF; none of an image in another format."""
    return image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}


def _holds_raw(image: Image.Image) -> bool:
    signed = _tags(image).get(SAMPLE_FORMAT) == SIGNED  # Pillow reads 8 signed bits as unsigned
    return image.mode == 'F' or image.mode.startswith('I') or (signed and image.mode == 'L')


def _raw_values(image: Image.Image, upright: Image.Image) -> np.ndarray:
    """Returns the values with the sign that the file declares."""
    values = np.asarray(upright)
    tags = _tags(image)
    if values.dtype == np.uint8:
        return values.view(np.int8)
    unsigned = values.dtype == np.int32 and tags.get(SAMPLE_FORMAT) != SIGNED and tags.get(BITS) == (32,)
    return values.view(np.uint32) if unsigned else values


def _has_deep_colors(image: ImageFile.ImageFile, file: BinaryIO) -> bool:
    """Returns whether values have more than 8 bits, of which Pillow keeps the upper 8, as it does for all but gray."""
    if image.format == 'JPEG2000':
        place = file.tell()
        file.seek(0)
        head = file.read(2**16)
        file.seek(place)
        at = head.find(SIZ) + 40
        return at < len(head) and (head[at] & 127) + 1 > 8
    layout = image.tile[0][3] if image.tile else None  # such as RGB;16B, or (RGB, the maximum) of PNM files
    parts = layout if isinstance(layout, tuple) else (layout,)
    maximum = parts[1] if image.format == 'PPM' and len(parts) == 2 else 0
    return ';16' in str(parts[0]) or maximum > 255


def _on_white(image: Image.Image, name: str) -> Image.Image:
    layer = (image.convert('LA') if image.mode == 'La' else image).convert('RGBA')
    if layer.getchannel('A').getextrema()[1] == 0:
        raise WrongContent(
            f'{name} is fully transparent: its alpha channel is 0 everywhere', todo='save it without an alpha channel'
        )
    return Image.alpha_composite(Image.new('RGBA', layer.size, 'white'), layer)


def _upright(image: Image.Image) -> Image.Image:
    """Applies the EXIF orientation; ignores damaged metadata, as a viewer does."""
    try:
        turn = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # Pillow has several metadata parsers, each with its own errors
        return image
    return image if turn is None else image.transpose(turn)


def _scaled(values: np.ndarray, name: str, scale_raw: ScaleRaw) -> np.ndarray:
    """Returns raw values (H, W) as uint8."""
    least, most = float(values.min()), float(values.max())
    if not np.isfinite([least, most]).all():
        raise NotFinite(f'{name} contains infinite or NaN values', todo='replace them, or remove the image')
    bits = '32-bit floating-point' if values.dtype.kind == 'f' else f'{8 * values.dtype.itemsize}-bit'
    about = f'{name} has raw {bits} values, {least:g} to {most:g}'
    bounds = f'[{least:g},{most:g}]'
    if scale_raw is None:
        error = RawImage(
            f'{about}, but no scaling is set: use images.scale_raw=percentiles, or fixed bounds such as '
            f'images.scale_raw={bounds}',
            todo='set one of the two with --cfg-options, or in the config',
        )
        error.values = (f'{bits} values', least, most)
        raise error
    if scale_raw == 'percentiles':
        low, high = (float(value) for value in np.percentile(values, PERCENTILES))
        if low == high:
            low, high = least, most
    else:
        low, high = scale_raw
    share = (values.astype(np.float64) - low) / (high - low) if low < high else np.zeros(values.shape)
    scaled = np.rint(share.clip(0, 1) * 255).astype(np.uint8)
    grays = np.count_nonzero(np.bincount(scaled.ravel(), minlength=256))
    if grays == 1 or (grays == 2 and len(np.unique(values)) > FEW_VALUES):
        left = 'one gray' if grays == 1 else 'two grays'
        raise RawImage(
            f'{about}; images.scale_raw={spelled(scale_raw)} maps all of them to {left}',
            allowed=f'percentiles, or bounds with values between them, such as {bounds}',
            todo='correct images.scale_raw' if least < most else 'remove the image from the data folder: it is blank',
        )
    return scaled


def spelled(scale_raw: Any) -> str:
    """Returns `images.scale_raw` in the syntax of the command line."""
    return f'[{",".join(f"{v:g}" for v in scale_raw)}]' if isinstance(scale_raw, (list, tuple)) else str(scale_raw)


def _about(error: Exception) -> str:
    """Returns what is wrong; for a format that Pillow does not recognize, the supported formats."""
    if isinstance(error, UnidentifiedImageError):
        return f'its format is none of {", ".join(FORMATS)}'
    return error_text(error)
