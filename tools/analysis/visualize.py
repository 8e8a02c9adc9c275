"""Draw what a pre-training sees and what it has learnt.

python tools/analysis/visualize.py views CONFIG --images my/images --out views.png
python tools/analysis/visualize.py matches CONFIG CHECKPOINT --images a.jpg --out matches.png
python tools/analysis/visualize.py curves work_dirs/run --names all --out curves.png
"""

import argparse
from pathlib import Path

from mmengine.logging import MMLogger
from mmengine.runner import set_random_seed
from torchvision.transforms.functional import to_pil_image

import dense_ssl  # noqa: F401
from dense_ssl.cli.clean_errors import clean_errors
from dense_ssl.cli.config import load_config
from dense_ssl.cli.flags import set_view_size
from dense_ssl.errors import UserError
from dense_ssl.visualization.curves import draw_curves, read_run
from dense_ssl.visualization.features import draw_attention, draw_pca, draw_similarity
from dense_ssl.visualization.matches import draw_matches
from dense_ssl.visualization.montage import montage_picture
from dense_ssl.visualization.networks import (
    PretrainedNetwork,
    image_files,
    read_image,
    view_pair,
)
from dense_ssl.visualization.queues import draw_queue
from dense_ssl.visualization.style import style
from dense_ssl.visualization.views import draw_views

WHAT = dict(
    views='boxes of the views on their images, the views, and positive pairs',
    montage='montages of an MCL config, --images a folder',
    matches='mutual nearest cells of two photos (--pair), or of two views of each image, and PCK',
    pca='features as colours, and the foreground',
    attention="which cells PixPro's propagation mixes into that under a pixel",
    similarity="cosine to the cell under the first image's pixel, in all images",
    queue='cosines to the keys in the queue, and their age',
    curves='loss and diagnostics of runs: their checkpoints or work folders',
)


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(dest='what', required=True, metavar='WHAT')
    for what, text in WHAT.items():
        kind = kinds.add_parser(what, help=text, description=f'Draw {text}.')
        kind.add_argument('--out', required=True, help='.png, .svg or .pdf')
        if what == 'curves':
            kind.add_argument('checkpoints', nargs='+', help='or work folders, one a run')
            kind.add_argument('--labels', nargs='+', help="the folders' names if not given")
            kind.add_argument('--names', nargs='+', default=['loss'], help="what, or 'all'")
            kind.add_argument('--window', type=int, default=10, help='iterations to average')
            continue
        kind.add_argument('config')
        if what not in ('views', 'montage'):
            kind.add_argument('checkpoint', help="as it is, or the word 'random'")
        kind.add_argument('--images', nargs='+', required=True, help='files, or folders of them')
        kind.add_argument('--seed', type=int, default=0)
        if what in ('views', 'montage'):
            kind.add_argument('--view-size', type=int, help="pixels, if not the config's")
        if what == 'montage':
            kind.add_argument('--batch-size', type=int, default=32)
            kind.add_argument('--rows', type=int, default=1, help='rows for each side')
            continue
        kind.add_argument('--count', type=int, default=4, help='images at most')
        if what in ('matches', 'pca', 'attention', 'similarity'):
            kind.add_argument('--size', type=int, default=448, help='pixels of the long side')
        if what == 'matches':
            kind.add_argument('--pair', action='store_true', help='match one image with the next')
        if what in ('attention', 'similarity'):
            kind.add_argument(
                '--pixel',
                type=float,
                nargs=2,
                default=(0.5, 0.5),
                metavar=('X', 'Y'),
                help='share of width and height, default the centre',
            )
    return parser.parse_args()


def config_of(args):
    cfg = load_config(args.config)
    if getattr(args, 'view_size', None):
        set_view_size(cfg, args.view_size)
    return cfg


def pairs_of(args, cfg, files):
    """What is matched: one photo with the next, or two views of each."""
    if not args.pair:
        yield from (view_pair(cfg, path, args.size, args.seed + i) for i, path in enumerate(files))
        return
    if len(files) < 2:
        raise UserError('--pair: give two images or more')
    images = [read_image(path, args.size) for path in files]
    yield from ((a, b, None) for a, b in zip(images[::2], images[1::2]))


def curves(args):
    folders = [Path(c).resolve() for c in args.checkpoints]
    labels = args.labels or [(p if p.is_dir() else p.parent).name for p in folders]
    if len(labels) != len(folders):
        raise UserError(f'{len(labels)} labels for {len(folders)} checkpoints')
    if len({*labels}) < len(labels):
        raise UserError(f'runs of the same name, {", ".join(labels)}: tell them apart by --labels')
    if args.window < 1:
        raise UserError('--window: 1 or more iterations')
    return draw_curves(
        {label: read_run(path) for label, path in zip(labels, folders)}, args.names, args.window
    )


def draw(args):
    """The figure that is asked for."""
    if args.what == 'curves':
        return curves(args)
    cfg = config_of(args)
    files = image_files(args.images, args.count)
    if args.what == 'views':
        return draw_views(cfg, files, args.seed)
    trained = PretrainedNetwork(cfg, args.checkpoint)
    if args.what == 'queue':
        return draw_queue(cfg, trained, files)
    networks = [trained] if trained.random else [PretrainedNetwork(cfg, 'random'), trained]
    if args.what == 'matches':
        return draw_matches(list(pairs_of(args, cfg, files)), networks)
    images = [read_image(path, args.size) for path in files]
    if args.what == 'pca':
        return draw_pca(images, networks)
    picture = dict(attention=draw_attention, similarity=draw_similarity)[args.what]
    return picture(images, networks, args.pixel)


def main():
    args = parse_args()
    MMLogger.get_current_instance().setLevel('WARNING')  # how weights are initialised
    with clean_errors(), style():
        if args.what == 'montage':
            set_random_seed(args.seed)
            (folder,) = args.images
            picture = montage_picture(config_of(args), folder, args.batch_size, args.rows)
            to_pil_image(picture).save(args.out)
        else:
            draw(args).savefig(args.out)


if __name__ == '__main__':
    main()
