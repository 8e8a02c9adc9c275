"""A study as a tool runs it."""

import argparse
import signal
import sys
from collections.abc import Iterable
from typing import Callable

from dense_ssl.cli.clean_errors import clean_errors

from .study import Study

__all__ = ['run_study']


def run_study(
    args: argparse.Namespace, last_lines: Callable[[dict], Iterable[str]] = lambda results: ()
) -> int:
    """Exit code of a tool.

    Args:
        args: Of :func:`~.arguments.compare_parser`.
        last_lines: What to print of the results in the end.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with clean_errors():
        try:
            results = Study(args, say=say).run()
        except KeyboardInterrupt:
            print('interrupted: the same command goes on from here', file=sys.stderr)
            return 130
    wrong = [cell for cell in results['cells'] if cell['state'] in ('failed', 'blocked')]
    say(f'results: {args.work_dir}/results.json, report.md, report.html')
    if wrong:
        say(f'{len(wrong)} of {len(results["cells"])} cells failed or were blocked.')
    for line in last_lines(results):
        say(line)
    return 1 if wrong else 0


def say(line: str) -> None:
    """Print at once, also into a pipe; file names may be no text."""
    encoding = sys.stdout.encoding or 'utf-8'
    print(line.encode(encoding, 'backslashreplace').decode(encoding), flush=True)
