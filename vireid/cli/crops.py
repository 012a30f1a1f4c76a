"""Cut people out of videos into a folder of crops. If stopped, run it again to continue."""

from __future__ import annotations

import argparse
from pathlib import Path
from shlex import quote

from vireid.cli.arguments import add_options_argument, add_plugin_argument
from vireid.console.progress_bar import progress_bar


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid crops`."""
    parser.add_argument('videos', type=Path, nargs='+', metavar='VIDEO', help='video files of one camera')
    parser.add_argument('-o', '--out', type=Path, required=True, metavar='DIR', help='folder of the crops')
    parser.add_argument('--camera', required=True, metavar='N', help='number of the camera, such as 3')
    parser.add_argument(
        '--modality', choices=('visible', 'infrared'), help='modality of the videos (default: from the first frame)'
    )
    parser.add_argument(
        '--start', metavar='TIME', help="time of a single video's first frame, such as '2026-11-29 22:41:05' (default: "
        'the creation time in the file, a date and time in its name, or its modification time minus its duration)',
    )  # fmt: skip
    parser.add_argument(
        '--every', type=int, metavar='N', help='examine every Nth frame (default: about five per second)'
    )
    parser.add_argument('--motion', action='store_true', help='examine only frames in which something has moved')
    parser.add_argument(
        '--min-height', type=int, default=64, metavar='PIXELS',
        help='minimum height of a person (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--detector', default='TorchvisionDetector', metavar='TYPE', help='detector of people (default: %(default)s); '
        'its arguments are overrides such as --cfg-options detector.weights=FILE',
    )  # fmt: skip
    add_options_argument(parser, 'arguments of the detector')
    add_plugin_argument(parser, 'a Python file with your detector')


def run(args: argparse.Namespace) -> int:
    """Cuts people out of each video, and prints what was kept, what was dropped, and why."""
    import torch

    from vireid.plugin_manager.manager import create_manager
    from vireid.video.camera import crop_videos, crops_text, detector_config, parse_camera, parse_start
    from vireid.video.cropping import Settings
    from vireid.video.folder import open_folder

    camera, config = parse_camera(args.camera), detector_config(args.detector, args.cfg_options)
    settings = Settings(args.modality or '', camera, args.every, args.motion, args.min_height, config)
    start = parse_start(args.start, args.videos)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    components = create_manager(args.plugin).components
    detector = components.build('detectors', config, where='detector', device=device)
    with open_folder(args.out) as folder, progress_bar('reading') as show:
        report = crop_videos(args.videos, folder, detector, settings, start, show)
    print(f'{args.out}: {crops_text(folder)}')
    if report.crops:
        print(f'To name the people: vireid label {quote(str(args.out))}')
    if report.failed:
        number = f'{len(report.failed):,} of {len(args.videos):,} videos'
        print(f'{number} could not be cropped: {report.failed[0]}, see above')
    return 1 if report.failed else 0
