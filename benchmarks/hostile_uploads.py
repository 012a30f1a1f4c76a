"""Hostile uploads to a running `vireid serve`: it stays up, its memory stays bounded, and nothing is left on the disk.

vireid serve INDEX --port 8123 &
python benchmarks/hostile_uploads.py http://127.0.0.1:8123/ INDEX IMAGE --pid PID [--uploads 1000]
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import io
import random
from pathlib import Path

import httpx
from PIL import Image


def resident(pid: int) -> float:
    lines = Path(f'/proc/{pid}/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith('VmRSS')) / 1024


def make(rng: random.Random, sound: list[bytes]) -> bytes:
    kind = rng.randrange(8)
    if kind == 0:
        return rng.randbytes(rng.choice([1, 100, 10_000, 11 * 2**20]))
    if kind == 1:  # a bomb: few bytes, many pixels
        file = io.BytesIO()
        Image.new('L', (rng.randint(4000, 20_000), rng.randint(4000, 9000))).save(file, 'PNG')
        return file.getvalue()
    if kind == 2:
        text = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
        return rng.choice([b'', b'GIF89a', b'\xff\xd8\xff\xe0', b'\x89PNG\r\n\x1a\n']) + text
    content = bytearray(rng.choice(sound))
    for _ in range(rng.randint(1, 60)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    return bytes(content[: rng.randint(1, len(content))] if kind == 3 else content)


async def attack(address: str, contents: list[bytes], at_once: int) -> collections.Counter[int]:
    codes: collections.Counter[int] = collections.Counter()
    gate = asyncio.Semaphore(at_once)
    limits = httpx.Limits(max_connections=at_once)
    async with httpx.AsyncClient(base_url=address, timeout=600, limits=limits) as client:

        async def one(content: bytes) -> None:
            async with gate:
                try:
                    codes[(await client.post('search?top=1', content=content)).status_code] += 1
                except httpx.HTTPError as error:  # the server may close the connection of an upload that is too large
                    codes[f'{type(error).__name__}'] += 1  # type: ignore[index]

        await asyncio.gather(*(one(content) for content in contents))
    return codes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('address')
    parser.add_argument('index', type=Path)
    parser.add_argument('image', type=Path)
    parser.add_argument('--pid', type=int, required=True)
    parser.add_argument('--uploads', type=int, default=1000)
    args = parser.parse_args()
    rng = random.Random(0)
    sound = [args.image.read_bytes()]
    for kind in ('PNG', 'GIF', 'TIFF', 'WEBP', 'BMP', 'JPEG2000'):
        file = io.BytesIO()
        Image.open(args.image).convert('RGB').save(file, kind)
        sound.append(file.getvalue())
    files = sorted(args.index.iterdir())
    asyncio.run(attack(args.address, [sound[0]] * 3, 1))
    before, most = resident(args.pid), 0.0
    total: collections.Counter[int] = collections.Counter()
    for start in range(0, args.uploads, 100):
        contents = [make(rng, sound) for _ in range(min(100, args.uploads - start))]
        total += asyncio.run(attack(args.address, contents, 100))
        most = max(most, resident(args.pid))
        print(f'{start + len(contents)} uploads, answers {dict(total)}, memory {resident(args.pid):.0f} MB')
    codes = asyncio.run(attack(args.address, [sound[0]] * 100, 100))
    assert codes == {200: 100}, codes
    assert sorted(args.index.iterdir()) == files
    print(f'memory {before:.0f} MB before, at most {most:.0f}; 100 sound images at once answered; no file was left')


if __name__ == '__main__':
    main()
