"""Write features of images by a frozen backbone, for clustering, retrieval, finding copies.

The file (npz) has `names` (N, ), relative to their folder where there is one, and of every stage
`stage<number>` (N, channels): the mean over the image. With --maps also the maps themselves,
`map<number>/<index>` (channels, h, w), half precision.
"""

import argparse
import os.path as osp
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, islice
from typing import IO, Optional

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from mmengine.utils import ProgressBar
from torch import Tensor, nn

from dense_ssl.cli.channels import set_channels
from dense_ssl.cli.clean_errors import clean_errors
from dense_ssl.cli.config import load_config
from dense_ssl.datasets import UnlabeledImages
from dense_ssl.errors import UserError
from dense_ssl.files import write_atomically
from dense_ssl.finetune.run import RANDOM
from dense_ssl.transfer import prepare_transfer
from dense_ssl.transfer.checkpoint import Checkpoint
from dense_ssl.transfer.importers import read_any


class Frozen(nn.Module):
    """A config's backbone with a checkpoint's weights, and how it wants its images.

    Args:
        cfg: Of ours, or of mmdet, mmseg or mmpretrain.
        checkpoint: None leaves the weights random.
        stages: Which maps to give, from 0 on; the config's last one if None.
        **options: ``network`` and ``backbone_prefix`` of :func:`prepare_transfer`.
    """

    def __init__(
        self,
        cfg: Config,
        checkpoint: Optional[Checkpoint],
        stages: Optional[Sequence[int]] = None,
        **options,
    ) -> None:
        super().__init__()
        part = dict(cfg.model.backbone)
        self.channels = part.get('in_channels', 3)
        if stages is None:
            given = part.get('out_indices', (3,))
            stages = [given if isinstance(given, int) else given[-1]]
        self.stages = sorted(set(stages))
        part['out_indices'] = tuple(self.stages)
        init_default_scope(cfg.get('default_scope', 'mmpretrain'))
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
            self.backbone = MODELS.build(part)
        own = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
        own = {**own, **(checkpoint.meta.get('normalization', {}) if checkpoint else {})}
        if len(own.get('mean') or ()) != self.channels:
            raise UserError(
                f'data_preprocessor of the config has mean {own.get("mean")}, the backbone takes '
                f'{self.channels} channels: give the config of the training, or --channels'
            )
        self.mean, self.std = (
            torch.tensor(own[key], dtype=torch.float32).view(-1, 1, 1) for key in ('mean', 'std')
        )
        rgb = cfg.get('default_scope') == 'dense_ssl' or own.get('bgr_to_rgb', own.get('to_rgb'))
        self.reverse = self.channels == 3 and not rgb
        if checkpoint is None:
            self.backbone.init_weights()
        else:
            print(prepare_transfer(self, checkpoint, ['backbone'], **options).apply())
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """uint8 (N, C, H, W) -> maps (N, channels, h, w), one a stage."""
        images = images.flip(1) if self.reverse else images
        maps = self.backbone((images - self.mean.to(images.device)) / self.std.to(images.device))
        maps = [maps] if isinstance(maps, Tensor) else list(maps)
        if len(maps) != len(self.stages) or any(m.dim() != 4 for m in maps):
            raise UserError(
                f'the backbone gives {[tuple(m.shape) for m in maps]} for stages {self.stages}, '
                'not one map each'
            )
        return maps


def batches(dataset, batch_size: int, scale: Optional[Sequence[int]]) -> Iterator[Tensor]:
    """The images in order, (N, C, H, W) uint8; fewer than ``batch_size`` where sizes change."""

    def read(index: int) -> Tensor:
        img = dataset[index]['img']
        if scale:
            long, short = max(img.shape[:2]), min(img.shape[:2])
            factor = min(max(scale) / long, min(scale) / short)
            size = tuple(max(1, round(side * factor)) for side in img.shape[1::-1])
            method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
            img = cv2.resize(img, size, interpolation=method).reshape(*size[::-1], -1)
        return torch.from_numpy(np.array(img)).permute(2, 0, 1)

    with ThreadPoolExecutor(4) as pool:
        indices = iter(range(len(dataset)))
        while chunk := list(islice(indices, batch_size)):
            for _, images in groupby(pool.map(read, chunk), key=lambda image: image.shape):
                yield torch.stack(list(images))


@torch.no_grad()
def write_features(
    file: IO[bytes], model: Frozen, dataset, names: Sequence[str], maps: bool, **options
) -> None:
    """Run over the images once, and write what the module's docstring says."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    model.to(device)
    pooled: list[list[Tensor]] = [[] for _ in model.stages]
    bar, done = ProgressBar(len(names)), 0
    with zipfile.ZipFile(file, 'w', allowZip64=True) as archive:

        def write(key: str, values: np.ndarray) -> None:
            with archive.open(f'{key}.npy', 'w', force_zip64=True) as member:
                np.lib.format.write_array(member, values, allow_pickle=False)

        for images in batches(dataset, **options):
            for stage, rows, found in zip(model.stages, pooled, model(images.to(device))):
                rows.append(found.mean((2, 3)).cpu())
                for i, each in enumerate(found.half().cpu().numpy() if maps else ()):
                    write(f'map{stage}/{done + i}', each)
            done += len(images)
            bar.update(len(images))
        write('names', np.array(names, dtype=str))
        for stage, rows in zip(model.stages, pooled):
            write(f'stage{stage}', torch.cat(rows).numpy())
    print()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='of the pre-training, or of mmdet, mmseg, mmpretrain')
    parser.add_argument('checkpoint', help='as it is, or the word "random"')
    parser.add_argument(
        '--images', nargs='+', required=True, metavar='DIR', help='folders, lists or packs'
    )
    parser.add_argument('--out', required=True, metavar='FILE.npz')
    parser.add_argument(
        '--stages', type=int, nargs='+', metavar='N', help='from 0 on; by default the last'
    )
    parser.add_argument('--maps', action='store_true', help='also the maps themselves')
    parser.add_argument(
        '--scale',
        type=int,
        nargs=2,
        metavar=('LONG', 'SHORT'),
        help='fit images into so many pixels; by default as they are',
    )
    parser.add_argument('--batch-size', type=int, default=16)
    parser.add_argument('--network', choices=['online', 'momentum'], default='online')
    parser.add_argument('--backbone-prefix', help='where it lies in a file that is not ours')
    parser.add_argument('--channels', type=int, help='bands of the images, as pre-training had it')
    parser.add_argument('--white-level', type=float, help='as the log of the training says')
    args = parser.parse_args()
    if not args.out.endswith('.npz'):
        raise UserError(f'--out {args.out}: the file must end in .npz.')
    cfg = load_config(args.config)
    if args.channels is not None:
        set_channels(cfg, args.channels)
    model = Frozen(
        cfg,
        None if args.checkpoint == RANDOM else read_any(args.checkpoint),
        args.stages,
        network=args.network,
        backbone_prefix=args.backbone_prefix,
    )
    dataset = UnlabeledImages(
        args.images,
        white_level='auto' if args.white_level is None else args.white_level,
        pipeline=[dict(type='LoadRGBImage', channels=model.channels)],
    )
    paths = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
    folder = args.images[0] if len(args.images) == 1 and not osp.isfile(args.images[0]) else ''
    names = [osp.relpath(path, folder) if folder else path for path in paths]
    options = dict(batch_size=args.batch_size, scale=args.scale)
    write_atomically(
        args.out, lambda file: write_features(file, model, dataset, names, args.maps, **options)
    )
    print(f'{len(names)} images, stages {model.stages}: {args.out}')


if __name__ == '__main__':
    with clean_errors():
        main()
