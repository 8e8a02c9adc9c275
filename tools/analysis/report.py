"""Write one page on a pre-training run: curves, warnings, pictures, config."""

import argparse
from pathlib import Path

from mmengine.logging import MMLogger

import dense_ssl  # noqa: F401
from dense_ssl.cli.clean_errors import clean_errors
from dense_ssl.visualization.report import write_report


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dir', type=Path, help='--work-dir of tools/train.py')
    parser.add_argument('--out', type=Path, help='WORK_DIR/report.html if not given')
    parser.add_argument('--images', nargs='+', help="to draw; the run's data if not given")
    parser.add_argument('--count', type=int, default=3, help='images to draw')
    return parser.parse_args()


def main():
    args = parse_args()
    MMLogger.get_current_instance().setLevel('WARNING')  # how weights are initialised
    out = args.out or args.work_dir / 'report.html'
    with clean_errors():
        write_report(args.work_dir, out, args.images, args.count)
    print(out)


if __name__ == '__main__':
    main()
