"""Images a second that one core turns into views.

For each recipe, on the same JPEG files, interleaved in one process with one
thread: this package's pipeline with colours left to the device
(``images_per_s``) and with colours in the workers
(``worker_colour_images_per_s``), the released codes' (``released_pipeline.py``)
and decoding alone. All end with a collated batch. ``device_colour_ms`` is
what the colours of an image then cost on ``--device``.

    MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 \\
    python tools/speed/data_pipeline.py --json views.json \\
        --plot views.png
"""

import argparse
import random
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import released_pipeline as released
from figures import bar_chart
from measuring import add_arguments, begin, medians, report
from mmengine.config import Config
from pictures import write_pictures

from dense_ssl.datasets import collate_views, read_rgb
from dense_ssl.engine.device_color import leave_colors_to_device
from dense_ssl.registry import DATASETS, MODELS

BASES = Path(__file__).resolve().parents[2] / 'configs/_base_/datasets'
RECIPES = dict(
    mocov2=('imagenet_mocov2.py', released.mocov2),
    byol=('imagenet_byol.py', released.byol),
    mcl=('imagenet_mcl.py', released.mcl),
    mcl_direct=('imagenet_mcl_direct.py', released.mcl),
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'recipes',
        nargs='*',
        metavar='RECIPE',
        help=f'some of {", ".join(RECIPES)}; default: all but the last',
    )
    parser.add_argument('--images', help='folder of images; default: 640x480 JPEGs are made')
    parser.add_argument('--number', type=int, default=16, help='of images')
    parser.add_argument('--view-size', type=int, default=224)
    add_arguments(parser, repeats=7, warm_up=1)
    parser.set_defaults(threads=1)
    parser.add_argument('--plot', help='write a bar chart here')
    args = parser.parse_args()
    unknown = set(args.recipes) - set(RECIPES)
    if unknown:
        parser.error(f'no recipe {", ".join(unknown)}: choose from {", ".join(RECIPES)}')
    args.recipes = args.recipes or list(RECIPES)[:-1]
    return args


def load(base: str, folder, number: int, size: int, on_device: bool) -> Config:
    cfg = Config.fromfile(BASES / base)
    leave_colors_to_device(cfg, on_device)
    dataset = cfg.train_dataloader.dataset
    dataset.update(data_root=str(folder), indices=number, verify=False)
    views = dataset.pipeline[1]
    for pipeline in views.transforms:
        for step in pipeline:
            if step.get('scale'):  # a cell, stated as part of the view
                step.scale = step.scale * size // views.view_size
    views.view_size = size
    return cfg


def colour_time(cfg: Config, batch: dict, args: argparse.Namespace) -> float:
    """Seconds that normalisation takes longer with colours than without."""
    preprocess = MODELS.build({'_scope_': 'dense_ssl', **cfg.data_preprocessor}).to(args.device)
    plain = dict(inputs=batch['inputs'])
    times = medians(dict(plain=lambda: preprocess(plain), color=lambda: preprocess(batch)), args)
    return times['color'] - times['plain']


class Breakdown:
    """Own time of each transform of a data set's pipeline, seconds."""

    def __init__(self, dataset) -> None:
        self.times: dict[str, float] = defaultdict(float)
        self.inner = [0.0]
        for step in self._all(dataset.pipeline.transforms):
            step.transform = self._timed(type(step).__name__, step.transform)

    def _all(self, steps):
        for step in steps:
            yield step
            for pipeline in getattr(step, 'transforms', ()):
                yield from {id(s): s for s in pipeline.transforms}.values()

    def _timed(self, name, function):

        def run(results):
            self.inner.append(0.0)
            start = time.perf_counter()
            try:
                return function(results)
            finally:
                spent = time.perf_counter() - start
                self.times[name] += spent - self.inner.pop()
                self.inner[-1] += spent

        return run


def break_down(cfg: Config, repeats: int) -> dict:
    """Milliseconds an image, by transform."""
    dataset = DATASETS.build({'_scope_': 'dense_ssl', **cfg.train_dataloader.dataset})
    dataset[0]
    breakdown = Breakdown(dataset)
    start = time.perf_counter()
    for _ in range(repeats):
        samples = [dataset[i] for i in range(len(dataset))]
        collate_start = time.perf_counter()
        collate_views(samples)
        breakdown.times['collate'] += time.perf_counter() - collate_start
    total = time.perf_counter() - start
    breakdown.times['rest'] = total - sum(breakdown.times.values())
    count = repeats * len(dataset)
    return {k: 1000 * v / count for k, v in breakdown.times.items()}


def measure(recipe: str, folder: Path, args) -> dict:
    base, views = RECIPES[recipe]
    cfgs = {
        on_device: load(base, folder, args.number, args.view_size, on_device)
        for on_device in (True, False)
    }
    device, worker = (
        DATASETS.build({'_scope_': 'dense_ssl', **cfg.train_dataloader.dataset})
        for cfg in cfgs.values()
    )
    paths = [device.get_data_info(i)['img_path'] for i in range(len(device))]
    reference = released.ReleasedPipeline(views(args.view_size))

    tasks = dict(
        device=lambda: collate_views([device[i] for i in range(len(paths))]),
        worker=lambda: collate_views([worker[i] for i in range(len(paths))]),
        reference=lambda: released.collate([reference(p) for p in paths]),
        decode=lambda: [read_rgb(p) for p in paths],
    )
    rate = {name: len(paths) / s for name, s in medians(tasks, args).items()}
    batch = tasks['device']()
    result = dict(
        images_per_s=rate['device'],
        reference_images_per_s=rate['reference'],
        ratio=rate['device'] / rate['reference'],
        worker_colour_images_per_s=rate['worker'],
        worker_colour_ratio=rate['worker'] / rate['reference'],
        decode_images_per_s=rate['decode'],
        decode_over_pipeline=rate['decode'] / rate['device'],
        device_colour_ms=1000 * colour_time(cfgs[True], batch, args) / len(paths),
    )
    return {
        **result,
        'breakdown': break_down(cfgs[True], args.repeats),
        'worker_colour_breakdown': break_down(cfgs[False], args.repeats),
    }


def describe(recipe: str, r: dict, device: str) -> str:
    lines = [
        f'{recipe}: {r["images_per_s"]:.0f} images/s with colours on the '
        f'device ({r["ratio"]:.2f} x released), '
        f'{r["worker_colour_images_per_s"]:.0f} in the workers '
        f'({r["worker_colour_ratio"]:.2f} x), released '
        f'{r["reference_images_per_s"]:.0f}, decoding alone '
        f'{r["decode_images_per_s"]:.0f} '
        f'({r["decode_over_pipeline"]:.2f} x the pipeline)',
        f'  colours on {device}: {r["device_colour_ms"]:.2f} ms an image',
    ]
    for key in ('breakdown', 'worker_colour_breakdown'):
        parts = ', '.join(f'{k} {v:.2f}' for k, v in r[key].items())
        lines.append(f'  {key}, ms an image: {parts}')
    return '\n'.join(lines)


def draw(results: dict, path: str) -> None:
    """Bars: each recipe's images a second, ours and the released."""
    kinds = dict(
        images_per_s='colours on the device',
        worker_colour_images_per_s='colours in the workers',
        reference_images_per_s='released',
        decode_images_per_s='decoding alone',
    )
    bar_chart(
        path,
        'Views, one thread',
        'images/s',
        *(
            [(f'{recipe}, {name}', result[key]) for key, name in kinds.items()]
            for recipe, result in results.items()
        ),
    )


def main() -> None:
    args = parse_args()
    begin(args)
    cv2.setNumThreads(0)
    np.random.seed(0)
    random.seed(0)
    with tempfile.TemporaryDirectory() as made:
        if args.images is None:
            write_pictures(Path(made), args.number)
        folder = Path(args.images or made)
        results = {r: measure(r, folder, args) for r in args.recipes}
    if args.plot:
        draw(results, args.plot)
    # one recipe: its figures; several: one such dict for each
    out = results if len(results) > 1 else results[args.recipes[0]]
    report(out, args.json, '\n'.join(describe(k, r, args.device) for k, r in results.items()))


if __name__ == '__main__':
    main()
