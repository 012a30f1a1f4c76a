"""Whether images that a system translates to the other modality look like it, by a small network that never saw them.

python benchmarks/translations.py CHECKPOINT... --data DATA --others DATA [--out SHEET.png]

The network learns to tell real visible from real infrared images of other people (`--others`), with noise and blur, so
that neither equal channels nor sharpness gives a generated image away. Then it classifies, for people of the test split
that neither has seen: real images, gray copies of visible images, and what each checkpoint generates (`fake` of a
translator; of Hi-CMD, images with the identity of one modality and the illumination of the other). Prints the share
classified as the other modality, and the variety: the deviation between generated images, averaged over the pixels,
divided by that between real images of the modality. A collapsed generator has a variety near 0.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from vireid.core.types import INFRARED, MODALITIES, VISIBLE, Batch
from vireid.exchange.models import load
from vireid.interfaces import Model
from vireid.plugin_manager.manager import create_manager

SIZE = (64, 32)
OTHER = {VISIBLE: INFRARED, INFRARED: VISIBLE}


def images_of(root: str, split: str, most: int) -> dict[str, list[Path]]:
    """Paths by modality, spread over the split."""
    dataset = create_manager().components.build('datasets', {'type': 'SYSU-MM01', 'root': root}, where='dataset')
    samples = dataset.split(split)
    paths = {m: [s.path for s in samples if s.modality == m] for m in MODALITIES}
    return {m: own[:: max(1, len(own) // most)][:most] for m, own in paths.items()}


def pictures(paths: list[Path]) -> Tensor:
    """(N, 3, 64, 32) in 0..1."""
    shown = [torch.frombuffer(bytearray(Image.open(p).convert('RGB').resize(SIZE[::-1]).tobytes()), dtype=torch.uint8)
             for p in paths]  # fmt: skip
    return torch.stack(shown).view(-1, *SIZE, 3).permute(0, 3, 1, 2).float() / 255


def disturbed(images: Tensor) -> Tensor:
    """Noise on each channel, and the blur of half or a quarter of the size for some."""
    scale = (1.0, 0.5, 0.25)[int(torch.randint(3, ()))]
    small = F.interpolate(images, scale_factor=scale, mode='bilinear', antialias=True)
    back = F.interpolate(small, SIZE, mode='bilinear')
    return (back + 0.01 * torch.randn(len(images), 3, 1, 1) + 0.02 * torch.randn_like(back)).clamp(0, 1)


def classifier(real: dict[str, Tensor], steps: int = 800) -> nn.Module:
    """A network whose output is positive for infrared images."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.GroupNorm(4, outputs), nn.ReLU()]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(steps):
        batch = torch.cat([disturbed(own[torch.randint(len(own), (32,))]) for own in (real[VISIBLE], real[INFRARED])])
        target = torch.arange(64).ge(32).float()
        loss = F.binary_cross_entropy_with_logits(network(batch)[:, 0], target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


@torch.no_grad()
def generated(checkpoint: str, paths: dict[str, list[Path]]) -> dict[str, Tensor]:
    """What a checkpoint generates from the images of each modality, (N, 3, 64, 32) in 0..1."""
    model = load(checkpoint)
    transform = model.experiment.build_transform('test')
    read = lambda path: torch.from_numpy(np.array(Image.open(path).convert('RGB'))).permute(2, 0, 1)  # noqa: E731
    inputs = {m: torch.stack([transform(read(p)) for p in own]) for m, own in paths.items()}
    shape = read(paths[VISIBLE][0])
    black, white = (transform(torch.full_like(shape, value)) for value in (0, 255))
    fakes = {}
    for m, images in inputs.items():
        if grid := Model.swap_grid(model):
            others = inputs[OTHER[m]]
            parts = []
            for start in range(0, len(images), 4):  # each identity with the illumination of another image
                rows = slice(start, start + 4)
                batch = Batch({m: images[rows], OTHER[m]: others[rows]},
                              {m: torch.arange(4), OTHER[m]: 4 + torch.arange(4)})  # fmt: skip
                decoded = grid(batch, m, OTHER[m])
                parts.append(torch.stack([decoded[i, i] for i in range(min(decoded.shape[:2]))]))
            fake = (torch.cat(parts) - black) / (white - black)
        else:
            (translator,) = dict(Model.translators(model)).values()
            batch = Batch({m: images}, {m: torch.zeros(len(images), dtype=torch.int64)})
            batch = translator(batch, needed={'real', 'fake'})
            fake = (batch.maps['fake'][m] + 1) / 2
        fakes[m] = F.interpolate(fake.float(), SIZE, mode='bilinear', antialias=True).clamp(0, 1)
    return fakes


def main() -> None:
    """Prints the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoints', nargs='+')
    parser.add_argument('--data', required=True)
    parser.add_argument('--others', required=True)
    parser.add_argument('--images', type=int, default=120)
    parser.add_argument('--out')
    args = parser.parse_args()
    network = classifier({m: pictures(own) for m, own in images_of(args.others, 'train', 1000).items()})
    paths = images_of(args.data, 'test', args.images)
    real = {m: pictures(own) for m, own in paths.items()}

    @torch.no_grad()
    def share(images: Tensor, modality: str) -> float:
        """Classified as `modality`, in percent."""
        torch.manual_seed(0)
        infrared = network(disturbed(images))[:, 0] > 0
        return 100 * float((infrared if modality == INFRARED else ~infrared).float().mean())

    for m in MODALITIES:
        print(f'real {m}: {share(real[m], m):.0f}% classified as {m}')
    print(f'gray copies of visible: {share(real[VISIBLE].mean(1, keepdim=True).expand(-1, 3, -1, -1), INFRARED):.0f}% '
          'classified as infrared')  # fmt: skip
    sheet = []
    for checkpoint in args.checkpoints:
        fakes = generated(checkpoint, paths)
        for m, fake in fakes.items():
            variety = float(fake.std(0).mean() / real[OTHER[m]].std(0).mean())
            print(f'{checkpoint}  {m} to {OTHER[m]}: {share(fake, OTHER[m]):.0f}%, variety {variety:.2f}', flush=True)
            sheet += [torch.cat(list(real[m][:16]), 2), torch.cat(list(fake[:16]), 2)]
    if args.out:
        whole = torch.cat(sheet, 1).mul(255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(whole).resize((2 * whole.shape[1], 2 * whole.shape[0])).save(args.out)


if __name__ == '__main__':
    main()
