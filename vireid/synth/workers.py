"""Distributes the drawing over processes.

Uses plain child interpreters instead of `multiprocessing`: a forked child of a process that has used torch may hang,
and a spawned one runs the caller's script again unless that script is guarded.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from vireid.synth.layouts import LAYOUTS, Job

Count = tuple[int, int]


def draw_all(folder: Path, layout: str, job: Job, workers: int) -> Iterator[Count]:
    """Writes the images of all identities.

    Args:
        folder: an existing empty folder.
        layout: a key of `LAYOUTS`.
        job: what to draw.
        workers: the number of processes, >= 1; 1 draws in this process.

    Yields:
        The numbers of visible and infrared images of each finished identity, in no particular order.

    Raises:
        OSError: if an image cannot be written.
        RuntimeError: if a worker fails for another reason.
    """
    if workers == 1 or not sys.executable:
        for identity in range(1, job.ids + 1):
            yield LAYOUTS[layout].write_identity(folder, job, identity)
        return
    children = [_start(folder, layout, job, range(1 + part, job.ids + 1, workers)) for part in range(workers)]
    try:
        news: queue.Queue[dict[str, object] | int] = queue.Queue()
        for child in children:
            threading.Thread(target=_listen, args=(child, news), daemon=True).start()
        running = len(children)
        while running:
            line = news.get()
            if isinstance(line, int):
                if line != 0:
                    raise RuntimeError(f'a drawing process exited with status {line}')
                running -= 1
            elif 'errno' in line:
                raise OSError(line['errno'], line['message'])
            else:
                yield int(str(line['visible'])), int(str(line['infrared']))
    finally:
        for child in children:
            child.kill()
            child.wait()


def _start(folder: Path, layout: str, job: Job, identities: range) -> subprocess.Popen[str]:
    # The child must find the same packages as this process.
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(entry or os.getcwd() for entry in sys.path))
    child = subprocess.Popen(
        [sys.executable, '-c', 'import sys; from vireid.synth.workers import work; sys.exit(work())'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    task = {'folder': str(folder.absolute()), 'layout': layout, 'job': asdict(job), 'identities': list(identities)}
    assert child.stdin is not None
    child.stdin.write(json.dumps(task))
    child.stdin.close()
    return child


def _listen(child: subprocess.Popen[str], news: queue.Queue[dict[str, object] | int]) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        news.put(json.loads(line))
    news.put(child.wait())


def work() -> int:
    """Draws the task given as JSON on standard input; returns the exit status."""
    task = json.load(sys.stdin)
    job, layout, folder = Job(**task['job']), LAYOUTS[task['layout']], Path(task['folder'])
    try:
        for identity in task['identities']:
            visible, infrared = layout.write_identity(folder, job, identity)
            print(json.dumps({'visible': visible, 'infrared': infrared}), flush=True)
    except BrokenPipeError:
        return 1
    except OSError as error:
        print(json.dumps({'errno': error.errno, 'message': error.strerror or str(error)}), flush=True)
    except KeyboardInterrupt:
        # The parent received the same Ctrl-C and cleans up; a second traceback would not help.
        return 130
    return 0
