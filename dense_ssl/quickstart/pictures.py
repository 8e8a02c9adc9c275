"""Pictures of the job: correspondences, detections, segmentations.

Runs as ``python -m dense_ssl.quickstart.pictures WORK_DIR FOLDER STAGE...``.
"""

import json
import sys
from pathlib import Path
from typing import Optional

import cv2
import torch
from mmengine import Config
from mmengine.dataset import default_collate
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed

from dense_ssl.models.correspondence import SimilarityCorrespondence, ViewMap
from dense_ssl.registry import DATASETS, MODELS
from dense_ssl.transfer.checkpoint import read_file
from dense_ssl.visualization import correct_matches, draw_correspondence
from dense_ssl.visualization.correspondence import tensor_to_image

from .report import final_run

__all__ = ['draw_views']


@torch.no_grad()
def draw_views(
    config: Path, checkpoint: Path, folder: Path, count: int = 6, view_size: Optional[int] = None
) -> float:
    """Draw matched cells of two views of ``count`` images.

    Views come from the pre-training pipeline itself, made larger so that
    there are enough cells; features from the online backbone.

    Args:
        config: Dumped config of the pre-training run.
        checkpoint: Its checkpoint.
        folder: Where ``correspondence_{i}.png`` are written.
        count: Number of images.
        view_size: Side of the views in pixels, as in training if omitted.

    Returns:
        float: Share of matches on the right spot, among the cells that have
        a counterpart in the other view.
    """
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    set_random_seed(0)
    if view_size:
        cfg.train_dataloader.dataset.pipeline[1].view_size = view_size
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    weights = read_file(checkpoint)['state_dict']
    backbone = MODELS.build(cfg.model.backbone)
    backbone.load_state_dict(
        {k[len('backbone.') :]: v for k, v in weights.items() if k.startswith('backbone.')}
    )
    backbone.eval()
    normalise = cfg.get('data_preprocessor') or cfg.model.data_preprocessor
    preprocess = MODELS.build(normalise)

    step = max(1, len(dataset) // count)
    items = [dataset[i] for i in range(0, len(dataset), step)][:count]
    batch = preprocess(default_collate(items), training=True)
    views = batch['inputs']
    boxes = torch.stack([s.view_boxes for s in batch['data_samples']], dim=1)
    maps = [backbone(view)[-1] for view in views]
    sizes = [m.shape[-2:] for m in maps]
    match = SimilarityCorrespondence().match(*(ViewMap(m) for m in maps))
    right, possible = correct_matches(match.index, *boxes, *sizes)

    for i in range(len(items)):
        picture = draw_correspondence(
            *(tensor_to_image(v[i], normalise.mean, normalise.std) for v in views),
            *(m[i] for m in maps),
            (boxes[0][i], boxes[1][i]),
        )
        cv2.imwrite(str(folder / f'correspondence_{i}.png'), picture[..., ::-1])
    return round(float(right[possible].float().mean()), 3)


def main(work_dir: str, folder: str, *stages: str) -> None:
    """Draw for the stages that ran; the score goes to ``matches.json``."""
    from dense_ssl.visualization.predictions import draw_detections, draw_segmentations

    folder = Path(folder)
    run = {name: final_run(Path(work_dir) / name) for name in stages}
    right = draw_views(*run['pretraining'], folder, view_size=224)
    (folder / 'matches.json').write_text(json.dumps(right))
    draw_detections(*run['detection'], folder)
    if 'segmentation' in run:
        draw_segmentations(*run['segmentation'], folder)


if __name__ == '__main__':
    main(*sys.argv[1:])
