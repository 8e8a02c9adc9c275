"""VOC's XML files and Cityscapes' instances, as the benchmarks read them."""

import numpy as np
import pytest
from mmengine.registry import DATASETS, DefaultScope

from ..transfer.foreign_layouts import (
    CITYSCAPES,
    CITYSCAPES_IDS,
    VOC,
    box_of,
    find_scenes,
    write_cityscapes,
    write_voc,
)
from .test_benchmark_configs import CONFIGS, options

SIZE = 64


@pytest.fixture(scope='module')
def scenes():
    return dict(train=find_scenes(3, 0, SIZE), val=find_scenes(2, 100, SIZE))


def data_sets(name, root, tmp_path):
    """The config, and its training and validation sets."""
    pytest.importorskip('mmdet')
    from dense_ssl.cli.build import build_config

    cfg = build_config(
        options(
            CONFIGS / 'mmdetection' / f'{name}.py', tmp_path, cfg_options=dict(data_root=str(root))
        )
    )
    with DefaultScope.overwrite_default_scope('mmdet'):
        return [cfg] + [
            DATASETS.build(cfg[f'{split}_dataloader'].dataset) for split in ('train', 'val')
        ]


def voc(scenes, tmp_path):
    write_voc(tmp_path / 'VOCdevkit', scenes)
    return data_sets('faster-rcnn_r50-c4_24k_voc0712', tmp_path / 'VOCdevkit', tmp_path)


@pytest.mark.parametrize('name', ['VOC2012', 'VOC2007/ImageSets'])
def test_an_absent_part_of_joined_data_sets_is_named(scenes, tmp_path, name):
    from dense_ssl.finetune.data.paths import check_data_exist
    from dense_ssl.transfer import TransferError

    cfg, _, _ = voc(scenes, tmp_path)
    check_data_exist(cfg)
    (tmp_path / 'VOCdevkit' / name).rename(tmp_path / 'gone')
    with pytest.raises(TransferError, match=f'{name}.* does not exist'):
        check_data_exist(cfg)


def corners(mask):
    """First and last pixel's coordinates, from 0 on."""
    x, y, w, h = box_of(mask)
    return [x, y, x + w - 1, y + h - 1]


def test_voc_trains_on_difficult_objects_of_both_years(scenes, tmp_path):
    _, train, val = voc(scenes, tmp_path)
    classes = train.metainfo['classes']
    assert len(classes) == 20
    for data_set, some, difficult in ((train, scenes['train'] * 2, 0), (val, scenes['val'], 1)):
        assert len(data_set) == len(some)
        for index, scene in enumerate(some):
            found = data_set.get_data_info(index)['instances']
            assert [i['bbox'] for i in found] == [corners(i.mask) for i in scene.instances]
            assert [classes[i['bbox_label']] for i in found] == [
                VOC[i.label] for i in scene.instances
            ]
            flags = [i['ignore_flag'] for i in found]
            assert flags == [0] * (len(found) - 1) + [difficult]
    years = [train.get_data_info(i)['img_path'].split('/')[-3] for i in range(len(train))]
    assert years == ['VOC2007'] * 3 + ['VOC2012'] * 3
    # The training pipeline hands the difficult ones to the detector.
    boxes = train[0]['data_samples'].gt_instances.bboxes
    assert len(boxes) == len(scenes['train'][0].instances)


def figures(val, change):
    """The metric's figures if a detector found what ``change`` leaves."""
    from dense_ssl.finetune.voc_metric import VOCDetectionMetric

    metric = VOCDetectionMetric()
    metric.dataset_meta = val.metainfo
    for index in range(len(val)):
        truth = val[index]['data_samples'].to_dict()
        kinds = ('gt_instances', 'ignored_instances')
        boxes, labels = (
            np.concatenate([_numpy(truth[kind][key]) for kind in kinds])
            for key in ('bboxes', 'labels')
        )
        keep = change(index, len(boxes))
        truth['pred_instances'] = {
            key: _tensor(value)
            for key, value in dict(
                bboxes=boxes[keep],
                labels=labels[keep],
                scores=np.linspace(0.9, 0.5, len(boxes))[keep],
            ).items()
        }
        metric.process({}, [truth])
    return metric.evaluate(len(val))


def _numpy(value):
    return getattr(value, 'tensor', value).numpy()


def _tensor(value):
    import torch

    return torch.from_numpy(np.asarray(value))


def test_voc_figures_of_a_perfect_and_of_a_worse_detector(scenes, tmp_path):
    _, _, val = voc(scenes, tmp_path)
    # The difficult object, last of each image, neither helps nor harms.
    for change in (lambda i, n: slice(None), lambda i, n: slice(n - 1)):
        assert figures(val, change) == {
            f'pascal_voc/{name}': pytest.approx(100) for name in ('AP', 'AP50', 'AP75')
        }
    missed = figures(val, lambda i, n: slice(i == 0, None))
    assert 0 < missed['pascal_voc/AP50'] < 100


def test_cityscapes_instances(scenes, tmp_path):
    root = tmp_path / 'cityscapes'
    write_cityscapes(root, scenes)
    cfg, train, val = data_sets('mask-rcnn_r50_fpn_24k_cityscapes', root, tmp_path)
    classes = train.metainfo['classes']
    assert classes == tuple(CITYSCAPES_IDS)
    for data_set, split in ((train, 'train'), (val, 'val')):
        assert len(data_set) == len(scenes[split])
        for index, scene in enumerate(scenes[split]):
            info = data_set.get_data_info(index)
            assert f'/leftImg8bit/{split}/town/' in info['img_path']
            assert [classes[i['bbox_label']] for i in info['instances']] == [
                CITYSCAPES[i.label] for i in scene.instances
            ]
            for found, wanted in zip(info['instances'], scene.instances):
                x, y, w, h = box_of(wanted.mask)
                assert found['bbox'] == [x, y, x + w, y + h]
    sample = train[0]
    masks = sample['data_samples'].gt_instances.masks
    assert len(masks) == len(scenes['train'][0].instances)
    assert masks.height == sample['inputs'].shape[1]
    evaluator = cfg.val_evaluator[0]
    assert evaluator.type == 'CocoMetric'
    assert evaluator.ann_file.startswith(str(root))
