"""Compare ways to begin: random weights, pre-training methods and checkpoints, on your data.

The same command goes on after any interruption, with what is finished kept.
"""

import signal
import sys

from dense_ssl.cli.clean_errors import clean_errors
from dense_ssl.study import Study, compare_parser


def main() -> int:
    args = compare_parser(__doc__).parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with clean_errors():
        try:
            results = Study(args, say=lambda line: print(line, flush=True)).run()
        except KeyboardInterrupt:
            print('interrupted: the same command goes on from here', file=sys.stderr)
            return 130
    wrong = [cell for cell in results['cells'] if cell['state'] in ('failed', 'blocked')]
    print(f'results: {args.work_dir}/results.json, report.md, report.html')
    if wrong:
        print(f'{len(wrong)} of {len(results["cells"])} cells failed or were blocked.')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
