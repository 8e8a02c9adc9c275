"""The frameworks' own functions take our configs, and the files that runs leave."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from .test_benchmark_configs import DETECTION, SEGMENTATION, options
from .tiny_data import write_coco, write_segmentation

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
SMALL = {
    'densecl/densecl_resnet50_8xb32-coslr-200e_in1k': dict(
        queue_len=4, projector=dict(in_channels=512, hidden_channels=8)
    ),
    'densecl/mocov2_resnet50_8xb32-coslr-200e_in1k': dict(
        queue_len=4, projector=dict(in_channels=512, hidden_channels=8)
    ),
    'pixpro/pixpro_resnet50_8xb128-coslr-100e_in1k': dict(
        projector=dict(in_channels=512, hidden_channels=8)
    ),
    'pixpro/pixcontrast_resnet50_8xb128-coslr-100e_in1k': dict(
        projector=dict(in_channels=512, hidden_channels=8)
    ),
    'mcl/mcl_resnet50_8xb128-coslr-100e_in1k': dict(neck=dict(in_channels=[64, 128, 256, 512])),
}


@pytest.mark.parametrize('name', SMALL)
def test_get_model_builds_ours(name):
    """mmpretrain has a DenseCL too, which would be built in its scope."""
    import mmpretrain

    path = CONFIGS / f'{name}.py'
    model = mmpretrain.get_model(str(path), backbone=dict(depth=18), **SMALL[name])
    assert type(model).__module__.startswith('dense_ssl.')
    assert type(model.data_preprocessor).__name__ == 'DenseDataPreprocessor'
    assert type(model.backbone).__module__.startswith('mmpretrain.')


def tuned(config, tmp_path, **data):
    """A fine-tuning of one step: its checkpoint, and the config that it left."""
    from dense_ssl.cli.build import build_config
    from dense_ssl.finetune import fine_tune

    cfg = build_config(options(config, tmp_path, **data))
    fine_tune(cfg, 'random')
    (left,) = (tmp_path / 'work').glob('*.py')
    (checkpoint,) = (tmp_path / 'work').glob('*_1.pth')
    return str(left), str(checkpoint)


@pytest.mark.slow
def test_init_detector(tmp_path):
    pytest.importorskip('mmdet')
    from mmdet.apis import inference_detector, init_detector

    ann, images = write_coco(tmp_path)
    left, checkpoint = tuned(DETECTION, tmp_path, coco_ann=ann, coco_images=images, scale=(64, 64))
    model = init_detector(left, checkpoint, device='cpu')
    assert model.dataset_meta['classes'] == ('square', 'disc')
    image = str(images / '0.png')
    found = inference_detector(model, image)
    assert found.ori_shape == (64, 64)
    # Of an array: by a pipeline of mmdet's own reading.
    pixels = np.array(Image.open(image))[..., ::-1]
    by_mmdet = Config.fromfile(str(DETECTION)).test_dataloader.dataset.pipeline
    model.cfg.test_dataloader.dataset.pipeline[0] = by_mmdet[0]
    of_array = inference_detector(model, np.ascontiguousarray(pixels))
    assert np.allclose(found.pred_instances.scores, of_array.pred_instances.scores)


@pytest.mark.slow
def test_init_segmentor(tmp_path):
    pytest.importorskip('mmseg')
    from mmseg.apis import inference_model, init_model

    write_segmentation(tmp_path)
    left, checkpoint = tuned(
        SEGMENTATION, tmp_path, seg_data=tmp_path, seg_classes='3', crop=(64, 64), scale=(64, 64)
    )
    model = init_model(left, checkpoint, device='cpu')
    assert len(model.dataset_meta['classes']) == 3
    found = inference_model(model, str(tmp_path / 'img_dir/val/0.jpg'))
    assert found.pred_sem_seg.data.shape == (1, 64, 64)


@pytest.mark.slow
def test_get_model_of_a_classifier(tmp_path):
    import mmpretrain

    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        for kind in ('a', 'b'):
            (tmp_path / split / kind).mkdir(parents=True)
            for i in range(2):
                pixels = rng.integers(0, 256, (64, 64, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / kind / f'{i}.png')
    config = next((CONFIGS / 'benchmarks/mmpretrain').glob('*linear*.py'))
    left, checkpoint = tuned(config, tmp_path, image_folder=tmp_path, iters=None, epochs=1)
    model = mmpretrain.get_model(left, pretrained=checkpoint)
    # `inference_model` picks this one by the name in mmpretrain's index, which has no own models.
    infer = mmpretrain.ImageClassificationInferencer(model)
    (found,) = infer(str(tmp_path / 'val/a/0.png'))
    assert found['pred_class'] in ('a', 'b')
