"""Plot what training runs logged at every iteration, from their checkpoints.

    python tools/analysis/plot_training.py work_dirs/run/epoch_10.pth \\
        --names loss positive_pairs --out curves.png
"""

import argparse
from pathlib import Path

import dense_ssl  # noqa: F401
from dense_ssl.cli.clean_errors import clean_errors
from dense_ssl.visualization.curves import draw_curves, logged_scalars


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkpoints', nargs='+', help='training checkpoints, one a run')
    parser.add_argument(
        '--labels', nargs='+', help="of the runs; their folders' names if not given"
    )
    parser.add_argument('--names', nargs='+', default=['loss'], help='what to plot')
    parser.add_argument('--window', type=int, default=10, help='iterations to average')
    parser.add_argument('--out', required=True, help='.png, .svg or .pdf')
    args = parser.parse_args()
    if args.labels and len(args.labels) != len(args.checkpoints):
        parser.error(f'{len(args.labels)} labels for {len(args.checkpoints)} checkpoints')
    if args.window < 1:
        parser.error('--window: 1 or more iterations')
    return args


def main():
    args = parse_args()
    labels = args.labels or [Path(c).resolve().parent.name for c in args.checkpoints]
    with clean_errors():
        runs = {
            label: logged_scalars(checkpoint) for label, checkpoint in zip(labels, args.checkpoints)
        }
        draw_curves(runs, args.names, args.window).savefig(args.out, dpi=120)


if __name__ == '__main__':
    main()
