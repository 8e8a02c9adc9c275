"""Compare ways to begin: random weights, pre-training methods and checkpoints, on your data.

The same command goes on after any interruption, with what is finished kept.
"""

import sys

from dense_ssl.study import compare_parser, run_study

if __name__ == '__main__':
    sys.exit(run_study(compare_parser(__doc__).parse_args()))
