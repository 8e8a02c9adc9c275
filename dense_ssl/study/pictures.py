"""A few pictures of a study: predictions of its networks, and the cells that they match."""

from collections.abc import Sequence
from pathlib import Path
from typing import Callable

import cv2
import torch
from mmengine import Config
from mmengine.dataset import default_collate
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed

from dense_ssl.cli.flags import set_view_size
from dense_ssl.models.algorithms.base import build_preprocessor
from dense_ssl.models.correspondence import SimilarityCorrespondence, ViewMap
from dense_ssl.registry import DATASETS, MODELS
from dense_ssl.transfer.checkpoint import read_file
from dense_ssl.transfer.keys import below
from dense_ssl.visualization import correct_matches, draw_correspondence
from dense_ssl.visualization.correspondence import tensor_to_image
from dense_ssl.visualization.predictions import draw_detections, draw_segmentations

from .cells import Cell

__all__ = ['draw_matches', 'draw_pictures']

_STARTS, _IMAGES = 4, 2  # at most


def draw_pictures(cells: Sequence[Cell], folder: Path, say: Callable[[str], None]) -> None:
    """PNG files in ``folder``, of seed 0 and the most labels; what cannot be drawn is told.

    Names begin with what is drawn and the number of the image: the starts' pictures of an image
    stand side by side.
    """
    done = [cell for cell in cells if cell.state == 'done' and cell.about['seed'] == 0]
    starts = list(dict.fromkeys(cell.about['start'] for cell in done))[:_STARTS]
    most = max((cell.about['labels'] or 0 for cell in done), default=0)
    draw: dict[str, Callable] = dict(
        matches=draw_matches, segmentation=draw_segmentations, detection=draw_detections
    )
    for cell in done:
        last, kind = cell.folder / 'last_checkpoint', cell.about['task'] or 'matches'
        if cell.about['start'] not in starts or cell.about['labels'] not in (None, most):
            continue
        if kind not in draw or not last.is_file():
            continue
        drawn = folder.glob(f'{kind}-*-{cell.folder.parent.name}.png')
        if any(path.stat().st_mtime > last.stat().st_mtime for path in drawn):
            continue
        try:
            folder.mkdir(exist_ok=True)
            checkpoint = cell.folder / Path(last.read_text(encoding='utf-8').strip()).name
            config = cell.folder / cell.results['config']
            names = [f'{kind}-{i}-{cell.folder.parent.name}.png' for i in range(_IMAGES)]
            draw[kind](config, checkpoint, [folder / name for name in names])
        except Exception as error:  # whatever it is: the figures are there
            say(f'no pictures of {cell.id}: {error or repr(error)}')


@torch.no_grad()
def draw_matches(
    config: Path, checkpoint: Path, paths: Sequence[Path], view_size: int = 224
) -> float:
    """Draw which cells of two views of an image match.

    Args:
        config: Of the pre-training.
        checkpoint: Of it.
        paths: A PNG file for each image, spread over the data.
        view_size: Pixels; larger than in training, so that there are enough cells.

    Returns:
        float: Share of right matches among the cells that have a counterpart.
    """
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    set_random_seed(0)
    set_view_size(cfg, view_size)
    cfg.train_dataloader.dataset.update(min_size=0, verify=False)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    backbone = MODELS.build(cfg.model.backbone)
    backbone.load_state_dict(below(read_file(checkpoint)['state_dict'], 'backbone.'))
    backbone.eval()
    preprocess = build_preprocessor(cfg.get('data_preprocessor') or cfg.model.data_preprocessor)
    step = max(1, len(dataset) // len(paths))
    items = [dataset[i] for i in range(0, len(dataset), step)][: len(paths)]
    batch = preprocess(default_collate(items), training=True)
    boxes = torch.stack([sample.view_boxes for sample in batch['data_samples']], dim=1)
    two = [0, len(boxes) // 2]  # MCL has four of each kind
    views, boxes = [batch['inputs'][i] for i in two], boxes[two]
    maps = [backbone(view)[-1] for view in views]
    for i, path in zip(range(len(items)), paths):
        a, b = (tensor_to_image(view[i], preprocess.mean, preprocess.std) for view in views)
        picture = draw_correspondence(a, b, maps[0][i], maps[1][i], (boxes[0][i], boxes[1][i]))
        cv2.imwrite(str(path), picture[..., ::-1])
    match = SimilarityCorrespondence().match(*map(ViewMap, maps))
    right, possible = correct_matches(match.index, *boxes, *(m.shape[-2:] for m in maps))
    return float(right[possible].float().mean())
