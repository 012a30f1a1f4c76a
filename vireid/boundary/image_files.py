"""Image files as pixels, as an image viewer shows them; raw sensor values by a scaling that the user names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from vireid.boundary.reading import open_regular, reads
from vireid.core.errors import VireidError

# Pillow knows many more, and starts programs for some (PostScript) or follows what a file names
FORMATS = ('JPEG', 'PNG', 'BMP', 'TIFF', 'WEBP', 'GIF', 'PPM', 'JPEG2000')
SUFFIXES = (
    *('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.dib', '.tif', '.tiff', '.webp', '.gif'),
    *('.pgm', '.ppm', '.pnm', '.pbm', '.pfm', '.jp2', '.j2k', '.jpx', '.jpf', '.j2c', '.jpc'),
)
MAY_BE_RAW = ('.png', '.tif', '.tiff', '.pgm', '.pnm', '.ppm', '.pfm', '.jp2', '.j2k', '.jpx', '.jpf', '.j2c', '.jpc')
MOST_PIXELS = 32_000_000  # four times a 4K frame; decoding takes up to 20 bytes a pixel
ORIENTATION = 0x0112  # the EXIF tag
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0  # a tag of TIFF
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PERCENTILES = (1, 99)
ScaleRaw = Literal['percentiles'] | tuple[float, float] | None


class RawImage(VireidError):
    """An image of raw values, whose scaling is missing or does not fit: the config is to be changed, not the image.

    Attributes:
        values: what it holds, such as `16-bit values`, its least and its greatest.
    """

    values: tuple[str, float, float] = ('values', 0.0, 0.0)


@reads('an image', *(f'*{suffix}' for suffix in SUFFIXES), todo='replace it, or take it out of the data folder')
def read_pixels(
    path: str | Path,
    max_pixels: int = MOST_PIXELS,
    scale_raw: ScaleRaw = None,
    thumbnail: tuple[int, int] | None = None,
) -> np.ndarray:
    """Decodes an image to (H, W, 3) uint8, as an image viewer shows it.

    The EXIF orientation is applied. Grey images get three equal channels; palettes, CMYK and CIELAB become RGB, colours
    of 16 bits their upper 8, and transparent pixels white. Of several frames the first is read. Colour profiles are not
    applied.

    Grey values of more than 8 bits (16 or 32 bits, floating point) have no look of their own. They are refused unless
    `scale_raw` says which become black and white; those between are scaled linearly, those beyond are cut off.

    Args:
        path: the file, of one of `FORMATS` whatever its suffix.
        max_pixels: a larger image is refused before it is decoded.
        scale_raw: `percentiles` takes the 1st and 99th of each image (the least and greatest value if these are equal);
            (low, high) is the same for all images. Images of 8 bits are never scaled.
        thumbnail: (width, height) that will do: a JPEG may be decoded at a size just above it.

    Raises:
        RawImage: if it has raw values and no scaling is given, or one that makes a single grey of them.
        VireidError: if the file is missing, no image, too large or truncated; the message names it.
    """
    try:
        with open_regular(path) as file, Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise VireidError(
                    f'image {path} has {image.width:,} x {image.height:,} pixels',
                    allowed=f'up to {max_pixels:,} pixels',
                    todo='cut the people out of it, or raise images.max_pixels',
                )
            if thumbnail is not None:
                image.draft('RGB', thumbnail)
            image.load()  # which turns a TIFF upright by itself
            shown = _upright(image)
            if _holds_raw(shown):
                grey = _scaled(np.asarray(shown), path, scale_raw)
                if getattr(image, 'tag_v2', {}).get(PHOTOMETRIC) == WHITE_IS_ZERO:
                    grey = 255 - grey  # which Pillow heeds for 8 bits only
                return np.repeat(grey[:, :, None], 3, axis=2)
            if shown.mode in ('LA', 'PA', 'La', 'RGBA', 'RGBa') or 'transparency' in shown.info:
                layer = shown.convert('RGBA')
                shown = Image.alpha_composite(Image.new('RGBA', layer.size, 'white'), layer)
            return np.array(shown.convert('RGB'))
    except FileNotFoundError as error:
        raise VireidError(f'image {path} is gone', todo='check the data folder') from error
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise VireidError(
            f'image {path} cannot be read: {_about(error)}', todo='replace it, or take it out of the data folder'
        ) from error


def is_raw(path: str | Path) -> bool:
    """Says whether a file's header announces raw values; False for damaged files and suffixes that never have them."""
    if not str(path).lower().endswith(MAY_BE_RAW):
        return False
    try:
        with open_regular(path) as file, Image.open(file, formats=FORMATS) as image:
            return _holds_raw(image)
    except Exception:  # a damaged file may fail in any way; whoever reads it says so
        return False


def _holds_raw(image: Image.Image) -> bool:
    return image.mode == 'F' or image.mode.startswith('I')


def _upright(image: Image.Image) -> Image.Image:
    """Applies the EXIF orientation; damaged metadata say nothing, as in a viewer."""
    try:
        turn = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # Pillow parses them by several readers, each with errors of its own
        return image
    return image if turn is None else image.transpose(turn)


def _scaled(values: np.ndarray, path: str | Path, scale_raw: ScaleRaw) -> np.ndarray:
    """Returns raw values (H, W) as uint8."""
    least, most = float(values.min()), float(values.max())
    if not np.isfinite([least, most]).all():
        raise VireidError(
            f'image {path} has values that are infinite or not a number', todo='replace them, or take the image out'
        )
    bits = '32-bit floating-point' if values.dtype.kind == 'f' else f'{8 * values.dtype.itemsize}-bit'
    about = f'image {path} has raw {bits} values, {least:g} to {most:g}'
    bounds = f'[{least:g},{most:g}]'
    if scale_raw is None:
        error = RawImage(
            f'{about}, and no scaling is given: images.scale_raw=percentiles, or fixed bounds such as '
            f'images.scale_raw={bounds}',
            todo='give one of the two by --cfg-options, or in the config',
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
    if scaled.min() == scaled.max():
        raise RawImage(
            f'{about}; by images.scale_raw={spelled(scale_raw)} all of them are one grey',
            allowed=f'percentiles, or bounds with values between them, such as {bounds}',
            todo='correct images.scale_raw' if least < most else 'take the image out of the data folder: it is blank',
        )
    return scaled


def spelled(scale_raw: Any) -> str:
    """Returns `images.scale_raw` as the command line takes it."""
    return f'[{",".join(f"{v:g}" for v in scale_raw)}]' if isinstance(scale_raw, (list, tuple)) else str(scale_raw)


def _about(error: Exception) -> str:
    """Returns what is wrong; of a file that Pillow cannot tell, the formats that are read."""
    if isinstance(error, UnidentifiedImageError):
        return f'it is none of {", ".join(FORMATS)}'
    return str(getattr(error, 'strerror', None) or error)
