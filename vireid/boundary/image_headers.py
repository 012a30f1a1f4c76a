"""Rejects image files that would take Pillow or its decoders minutes. Checks take time linear in the header."""

from __future__ import annotations

import re
from typing import BinaryIO

from vireid.errors import UnsafeFile

SCAN, MAX_SCANS = b'\xff\xda', 100  # of a JPEG; programs write about ten
MAX_SEGMENTS = 2000  # of a JPEG before its pixels, and bytes that fill the space between them; a profile takes 255
MAX_CHUNKS = 100_000  # of a PNG; 32 million pixels in chunks of 8 KiB are 12,000
HEAD, MAX_TEXT, MAX_COMMENTS = 2**16, 8 * 2**20, 1000  # of PNM files with numbers as text
BLOCK = 2**20
CONVERT = 'convert it, for example to PNG'


def require_quick(file: BinaryIO, name: str) -> None:
    """Checks the beginning of an image, and leaves the file at its start.

    Raises:
        UnsafeFile: if it is a PNM file with long comments or much text, a JPEG with thousands of segments or hundreds
            of scans, or a PNG with a hundred thousand chunks.
    """
    begins = file.read(8)
    file.seek(0)
    if begins[:1] == b'P' and begins[1:2] in b'01234567fFy':
        _check_pnm(file, name)
    elif begins[:2] == b'\xff\xd8':
        _check_jpeg(file, name)
    elif begins == b'\x89PNG\r\n\x1a\n':
        _check_png(file, name)
    file.seek(0)


def _check_pnm(file: BinaryIO, name: str) -> None:
    head = file.read(HEAD)
    text = head[1:2] in b'123'
    content = head + file.read(MAX_TEXT) if text else head
    words = 3 if head[1:2] in b'14' else 4  # of the header: kind, width, height; the maximum, if no bitmap
    # one match consumes a whole unterminated comment: starting again at each of its characters takes half a minute
    header = re.sub(rb'#[^\r\n]*([\r\n]|\Z)', lambda found: b' ' if found[1] else b'#', head).split()[:words]
    unfinished = len(head) == HEAD and (len(header) < words or b'#' in b''.join(header))
    if unfinished or len(content) > MAX_TEXT:
        raise UnsafeFile(
            f'{name} has a long comment, or more than {MAX_TEXT // 2**20} MiB of pixels as text', todo=CONVERT
        )
    if text and content.count(b'#') > MAX_COMMENTS:
        raise UnsafeFile(f'{name} has more than {MAX_COMMENTS} comments', todo=CONVERT)


def _check_jpeg(file: BinaryIO, name: str) -> None:
    at, steps = 2, 0
    while steps <= MAX_SEGMENTS:
        file.seek(at)
        begins = file.read(4)
        if len(begins) < 4 or begins[:2] == SCAN:
            break
        steps += 1
        is_segment = begins[0] == 0xFF and begins[1] not in (0, 0xFF)
        at += 2 + int.from_bytes(begins[2:], 'big') if is_segment else 1
    else:
        raise UnsafeFile(
            f'{name} has more than {MAX_SEGMENTS:,} segments or filling bytes before its pixels', todo=CONVERT
        )
    file.seek(0)
    scans, end = 0, b''
    while block := file.read(BLOCK):
        scans += (end + block).count(SCAN)
        end = block[-1:] if block[-1:] == SCAN[:1] else b''
    if scans > MAX_SCANS:  # each is decoded over the whole image
        raise UnsafeFile(f'{name} has {scans:,} scans', allowed=f'up to {MAX_SCANS}', todo=CONVERT)


def _check_png(file: BinaryIO, name: str) -> None:
    at = 8
    for _ in range(MAX_CHUNKS):
        file.seek(at)
        begins = file.read(8)
        if len(begins) < 8 or begins[4:] == b'IEND':
            return
        at += 12 + int.from_bytes(begins[:4], 'big')
    raise UnsafeFile(f'{name} has more than {MAX_CHUNKS:,} chunks', todo=CONVERT)
