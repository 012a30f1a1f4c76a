"""Export a trained model as weights with a model card, or as ONNX (needs `pip install "vireid[export]"`)."""

from __future__ import annotations

import argparse
from pathlib import Path

from vireid.cli.arguments import add_plugin_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the commands of `vireid export`."""
    commands = parser.add_subparsers(dest='export_command', required=True, metavar='COMMAND')
    for name, summary in (
        ('weights', 'write model.safetensors, config.yaml and a model card; omit the optimizer state and local paths'),
        ('onnx', 'write one ONNX file per modality and compare them with torch'),
    ):
        command = commands.add_parser(name, help=summary, description=f'{summary[0].upper()}{summary[1:]}.')
        command.add_argument('checkpoint', type=Path, help='checkpoint (.pt) of a run')
        command.add_argument('out', type=Path, help='output folder, created if needed')
        add_plugin_argument(command)


def run(args: argparse.Namespace) -> None:
    """Writes the files and prints their paths."""
    from vireid.exchange.release import release_onnx, release_weights

    if args.export_command == 'weights':
        print('\n'.join(map(str, release_weights(args.checkpoint, args.out, args.plugin))))
        return
    difference = release_onnx(args.checkpoint, args.out, args.plugin)
    print(f'{args.out / "model.json"}: image preprocessing; largest difference from torch {difference:.1e}')
