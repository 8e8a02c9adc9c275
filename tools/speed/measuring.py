"""What the speed tools share: common arguments, timing by turns, and figures written out."""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping

import torch


def add_arguments(parser: argparse.ArgumentParser, repeats: int, warm_up: int = 2) -> None:
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--repeats', type=int, default=repeats)
    parser.add_argument('--warm-up', type=int, default=warm_up)
    parser.add_argument('--threads', type=int, help='torch threads on CPU')
    parser.add_argument('--json', help='write the figures here; - is stdout')


def begin(args: argparse.Namespace) -> None:
    """The same threads and numbers for everybody."""
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)


def synchronise(device) -> None:
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize(device)


def timed(function: Callable, device) -> float:
    synchronise(device)
    start = time.perf_counter()
    function()
    synchronise(device)
    return time.perf_counter() - start


def medians(tasks: Mapping[str, Callable], args: argparse.Namespace) -> dict[str, float]:
    """Median seconds of each task, taken by turns."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for repeat in range(args.warm_up + args.repeats):
        for name, task in tasks.items():
            seconds = timed(task, args.device)
            if repeat >= args.warm_up:
                times[name].append(seconds)
    return {name: statistics.median(t) for name, t in times.items()}


def report(result: dict, path, text: str) -> None:
    """Write figures as JSON where a path is given, and ``text`` to stdout.

    A path of '-' is stdout, for the JSON alone.
    """
    dumped = json.dumps(result, indent=2) + '\n'
    if path == '-':
        sys.stdout.write(dumped)
        return
    if path:
        with open(path, 'w') as file:
            file.write(dumped)
    print(text)
