"""From a folder of images to a fine-tuned detector, in a few minutes.

DenseCL pre-training, Mask R-CNN and FCN fine-tuning with the real configs and
tools, shrunk by --cfg-options, on procedural scenes or on your own images.
"""

import argparse
import os
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/quickstart'))
    parser.add_argument('--images', type=Path, help='folder of your unlabelled images')
    parser.add_argument('--coco', type=Path, help='your COCO instance annotations (JSON)')
    parser.add_argument(
        '--coco-images', type=Path, help='folder that the file names in --coco start from'
    )
    parser.add_argument(
        '--size',
        type=int,
        default=128,
        help='side in pixels that images are resized to for fine-tuning',
    )
    parser.add_argument('--fresh', action='store_true', help='reuse no finished stage')
    parser.add_argument(
        '--smoke', action='store_true', help='a few iterations only, to see that everything runs'
    )
    args = parser.parse_args(argv)
    own = [args.images, args.coco, args.coco_images]
    if any(own) and not all(own):
        parser.error('your own data need all of --images, --coco and --coco-images')
    if args.size < 64:
        parser.error(f'--size must be 64 or more, got {args.size}')
    return args


def say(line: str) -> None:
    """Print at once, also into a pipe; file names may be no text."""
    encoding = sys.stdout.encoding or 'utf-8'
    print(line.encode(encoding, 'backslashreplace').decode(encoding), flush=True)


def main(argv=None) -> int:
    args = parse_args(argv)
    start = time.perf_counter()
    say('loading torch and OpenMMLab ...')
    from dense_ssl.quickstart.folders import check_inputs, prepare_work_dir
    from dense_ssl.quickstart.job import Job
    from dense_ssl.quickstart.job_data import scenes_data, user_data
    from dense_ssl.quickstart.recipe import Budget
    from dense_ssl.quickstart.stages import StageError, fingerprint
    from dense_ssl.quickstart.user_data import InputError, check_images, read_coco

    budget = Budget(size=args.size)
    scenes = dict(num_unlabelled=640, num_train=160, num_val=32, size=128)
    if args.smoke:
        budget = Budget(
            views=32,
            batch_size=8,
            detection_iters=4,
            segmentation_iters=4,
            size=64,
            view_size=64,
            fine_tune_batch=2,
        )
        scenes = dict(num_unlabelled=16, num_train=8, num_val=4, size=64)
    try:
        job = Job(args.work_dir, REPOSITORY, budget, args.fresh, say)
        if args.images is None:
            inputs = dict(scenes=scenes)

            def make_data(folder):
                return scenes_data(folder, workers=os.cpu_count() or 1, **scenes)
        else:
            # everything is checked before any time is spent
            check_inputs(
                args.work_dir,
                {'--images': args.images, '--coco': args.coco, '--coco-images': args.coco_images},
            )
            check_images(args.images, least=8)
            read_coco(args.coco, args.coco_images)
            paths = [args.images, args.coco, args.coco_images]
            inputs = dict(paths=[str(p.resolve()) for p in paths], content=fingerprint(paths))

            def make_data(folder):
                return user_data(
                    folder, *paths, most_unlabelled=budget.views, most_train=400, most_val=50
                )

        prepare_work_dir(job.work_dir)
        summary = job.run(inputs, make_data)
    except (InputError, StageError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    say('\n' + summary)
    say(f'{time.perf_counter() - start:.0f} s in all; summary in {job.work_dir}/summary.md')
    return 0


if __name__ == '__main__':
    sys.exit(main())
