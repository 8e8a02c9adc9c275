"""The truth, given as detections or labels, scores 1 by every metric and on every layout."""

import json

import mmcv
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.registry import DATASETS, METRICS, DefaultScope
from pycocotools import mask as mask_utils

from ..transfer.foreign_layouts import find_scenes, write_voc
from .test_benchmark_configs import CONFIGS, DETECTION, options

WIDTH, HEIGHT = 160, 120


def coco(images=3, each=4):
    """Content of a COCO file with ``each`` squares an image, of two classes, in turn."""
    side = 20 if each < 20 else 6
    across = WIDTH // (side + 2)
    content = dict(
        images=[
            dict(id=i + 1, file_name=f'{i}.png', width=WIDTH, height=HEIGHT) for i in range(images)
        ],
        annotations=[],
        categories=[dict(id=3, name='square'), dict(id=1, name='bar')],
    )
    for i in range(images):
        for k in range(each):
            x, y = k % across * (side + 2) + i, k // across * (side + 2)
            content['annotations'].append(
                dict(
                    id=len(content['annotations']) + 1,
                    image_id=i + 1,
                    category_id=(3, 1)[k % 2],
                    bbox=[x, y, side, side],
                    area=side * side,
                    iscrowd=0,
                    segmentation=[[x, y, x + side, y, x + side, y + side, x, y + side]],
                )
            )
    return content


def truth_of(content):
    """What is there to be found, by file name: (category's name, box's corners, mask)."""
    names = {c['id']: c['name'] for c in content['categories']}
    files = {i['id']: i['file_name'] for i in content['images']}
    found = {name: [] for name in files.values()}
    for a in content['annotations']:
        x, y, w, h = a['bbox']
        rle = mask_utils.merge(mask_utils.frPyObjects(a['segmentation'], HEIGHT, WIDTH))
        found[files[a['image_id']]].append(
            (names[a['category_id']], [x, y, x + w, y + h], mask_utils.decode(rle).astype(bool))
        )
    return found


def build(content, folder):
    """The config for ``content`` and the training and validation sets, of the same file."""
    pytest.importorskip('mmdet')
    from dense_ssl.cli.build import build_config

    images = folder / 'images'
    for image in content['images']:
        if not (images / image['file_name']).exists():
            mmcv.imwrite(np.zeros((HEIGHT, WIDTH, 3), np.uint8), str(images / image['file_name']))
    path = folder / 'instances.json'
    path.write_text(json.dumps(content))
    args = options(DETECTION, folder, coco_ann=path, coco_images=images, coco_val_ann=path)
    cfg = build_config(args)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return cfg, *(
            DATASETS.build(dict(cfg[f'{split}_dataloader'].dataset, pipeline=[]))
            for split in ('train', 'val')
        )


def score(cfg, data, truth):
    """AP of boxes and of masks, by the config's evaluator, of detections that are the truth."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        metric = METRICS.build(cfg.val_evaluator)
        metric.dataset_meta = data.metainfo
        for i in range(len(data)):
            info = data.get_data_info(i)
            own = truth[info['img_path'].rpartition('/')[2]]
            labels = [data.metainfo['classes'].index(name) for name, _, _ in own]
            found = dict(
                bboxes=torch.tensor([box for _, box, _ in own]).reshape(-1, 4).float(),
                scores=torch.linspace(0.9, 0.95, len(own)),
                labels=torch.tensor(labels).long(),
                masks=torch.tensor(
                    np.array([mask for _, _, mask in own]).reshape(-1, HEIGHT, WIDTH)
                ),
            )
            shape = (info['height'], info['width'])
            metric.process({}, [dict(img_id=info['img_id'], ori_shape=shape, pred_instances=found)])
        figures = metric.evaluate(len(data))
    return [figures.get(f'coco/{kind}_mAP') for kind in ('bbox', 'segm')]


def each_annotation(change):
    def apply(content):
        for i, annotation in enumerate(content['annotations']):
            change(annotation, i)

    return apply


def as_rle(annotation, compressed):
    rle = mask_utils.merge(mask_utils.frPyObjects(annotation['segmentation'], HEIGHT, WIDTH))
    counts = rle['counts'].decode()
    if not compressed:
        pixels = np.concatenate([[0], mask_utils.decode(rle).T.flatten(), [2]])
        ends = np.flatnonzero(np.diff(pixels.astype(int)) != 0)
        counts = np.diff(np.concatenate([[0], ends])).tolist()
    annotation['segmentation'] = dict(size=[HEIGHT, WIDTH], counts=counts)


def text_ids(content):
    for image in content['images']:
        image.update(id=f'img-{image["id"]}', width=str(WIDTH), height=float(HEIGHT))
    for annotation in content['annotations']:
        annotation.update(
            id=str(annotation['id']),
            image_id=f'img-{annotation["image_id"]}',
            category_id=str(annotation['category_id']),
            bbox=[str(v) for v in annotation['bbox']],
            area=str(annotation['area']),
            iscrowd='0',
        )


def huge_ids(content):
    for image in content['images']:
        image['id'] += 2**63
    for annotation in content['annotations']:
        annotation['image_id'] += 2**63


def crowd_beside(content):
    content['annotations'].append(
        dict(
            id=999,
            image_id=1,
            category_id=3,
            bbox=[0, 60, 100, 50],
            area=5000,
            iscrowd=1,
            segmentation=dict(size=[HEIGHT, WIDTH], counts=[60, 50, HEIGHT * WIDTH - 110]),
        )
    )


CHANGES = dict(
    as_it_is=lambda content: None,
    ids_from_0=each_annotation(lambda a, i: a.update(id=i)),
    ids_below_0=each_annotation(lambda a, i: a.update(id=-i)),
    image_and_category_ids_from_0=lambda c: (
        [i.update(id=i['id'] - 1) for i in c['images']],
        [x.update(id=x['id'] - 1) for x in c['categories']],
        [
            a.update(image_id=a['image_id'] - 1, category_id=a['category_id'] - 1)
            for a in c['annotations']
        ],
    ),
    huge_ids=huge_ids,
    numbers_as_text=text_ids,
    no_area=each_annotation(lambda a, i: a.pop('area')),
    area_null=each_annotation(lambda a, i: a.update(area=None)),
    area_0=each_annotation(lambda a, i: a.update(area=0)),
    area_beyond_every_range=each_annotation(lambda a, i: a.update(area=1e11)),
    no_iscrowd=each_annotation(lambda a, i: a.pop('iscrowd')),
    iscrowd_null=each_annotation(lambda a, i: a.update(iscrowd=None)),
    iscrowd_false=each_annotation(lambda a, i: a.update(iscrowd=False)),
    ignore_text=each_annotation(lambda a, i: a.update(ignore='0')),
    rle=each_annotation(lambda a, i: as_rle(a, True)),
    rle_of_numbers=each_annotation(lambda a, i: as_rle(a, False)),
    crowd=crowd_beside,
)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('change', CHANGES)
def test_coco(tmp_path, change):
    content = coco()
    truth = truth_of(content)
    CHANGES[change](content)
    cfg, train, val = build(content, tmp_path)
    assert score(cfg, val, truth) == [1, 1]
    trained = [x for i in range(len(train)) for x in train.get_data_info(i)['instances']]
    assert sum(not x['ignore_flag'] for x in trained) == 12


@pytest.mark.filterwarnings('ignore')
def test_coco_of_crowded_images(tmp_path):
    content = coco(images=2, each=250)
    cfg, _, val = build(content, tmp_path)
    assert score(cfg, val, truth_of(content)) == [1, 1]
    assert cfg.model.test_cfg.rcnn.max_per_img == 300
    assert cfg.model.test_cfg.rpn.max_per_img >= 300


@pytest.mark.filterwarnings('ignore')
def test_coco_of_one_class_and_boxes_alone(tmp_path):
    content = coco()
    content['categories'] = [dict(id=3, name='square')]
    for annotation in content['annotations']:
        annotation['category_id'] = 3
    truth = truth_of(content)
    for annotation in content['annotations'][::2]:
        annotation['segmentation'] = []
    cfg, _, val = build(content, tmp_path)
    assert score(cfg, val, truth) == [1, None]


odd = st.fixed_dictionaries(
    dict(
        x=st.sampled_from([-50, -5, 0, 30, 155, 160, 200]),
        w=st.sampled_from([-3, 0, 0.4, 1, 8, 40]),
        h=st.sampled_from([0, 0.9, 1, 1.5, 12]),
        area=st.sampled_from([None, -1, 0, 0.2, 50, 'none', '30']),
        ignore=st.sampled_from([0, 1, None, '1', True]),
        iscrowd=st.sampled_from([0, 1, None, '0']),
        mask=st.booleans(),
    )
)


@pytest.mark.filterwarnings('ignore')
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(objects=st.lists(odd, min_size=1, max_size=6), masks=st.booleans())
def test_mmdet_trains_on_what_pycocotools_counts(tmp_path, objects, masks):
    content = coco()
    for i, o in enumerate(objects):
        x, w, h = o['x'], o['w'], o['h']
        polygon = [[x, 70, x + w, 70, x + w, 70 + h, x, 70 + h]]
        content['annotations'].append(
            dict(
                id=1000 + i,
                image_id=2,
                category_id=1,
                bbox=[x, 70, w, h],
                area=o['area'],
                ignore=o['ignore'],
                iscrowd=o['iscrowd'],
                segmentation=polygon if masks or o['mask'] else [],
            )
        )
    cfg, train, _ = build(content, tmp_path)
    trained = [x for i in range(len(train)) for x in train.get_data_info(i)['instances']]
    with open(cfg.val_evaluator.ann_file) as file:
        evaluated = json.load(file)['annotations']
    # What pycocotools calls ignored, and mmdet, are the same; nothing is dropped on the way.
    counts = [[bool(a['iscrowd']) for a in evaluated], [bool(x['ignore_flag']) for x in trained]]
    assert sorted(counts[0]) == sorted(counts[1]) and counts[0].count(False) >= 12
    if 'segm' in cfg.val_evaluator.metric:
        assert all(x.get('mask') for x in trained)


@pytest.mark.filterwarnings('ignore')
def test_voc(tmp_path):
    pytest.importorskip('mmdet')
    from dense_ssl.cli.build import build_config

    root = tmp_path / 'VOCdevkit'
    write_voc(root, dict(train=find_scenes(3, 0, 64), val=find_scenes(2, 100, 64)))
    config = CONFIGS / 'mmdetection' / 'faster-rcnn_r50-c4_24k_voc0712.py'
    cfg = build_config(options(config, tmp_path, cfg_options=dict(data_root=str(root))))
    with DefaultScope.overwrite_default_scope('mmdet'):
        data = DATASETS.build(dict(cfg.val_dataloader.dataset, pipeline=[]))
        metric = METRICS.build(cfg.val_evaluator)
    metric.dataset_meta = data.metainfo
    for i in range(len(data)):
        parts = {False: [], True: []}
        for instance in data.get_data_info(i)['instances']:
            parts[bool(instance['ignore_flag'])].append(instance)
        truth, ignored = (
            dict(
                bboxes=torch.tensor([x['bbox'] for x in part]).reshape(-1, 4).float(),
                labels=torch.tensor([x['bbox_label'] for x in part]).long(),
            )
            for part in parts.values()
        )
        found = dict(truth, scores=torch.linspace(0.5, 0.9, len(truth['labels'])))
        metric.process(
            {}, [dict(pred_instances=found, gt_instances=truth, ignored_instances=ignored)]
        )
    assert metric.evaluate(len(data))['pascal_voc/AP'] == 100


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('mode', ['L', 'P', '1', 'I;16'])
@pytest.mark.parametrize('cityscapes', [False, True])
def test_label_maps(tmp_path, mode, cityscapes):
    pytest.importorskip('mmseg')
    from PIL import Image

    from dense_ssl.cli.build import build_config

    from .tiny_data import write_segmentation

    data = write_segmentation(tmp_path / 'data', cityscapes=cityscapes, classes=2)
    for path in (data / ('gtFine' if cityscapes else 'ann_dir')).rglob('*.png'):
        labels = np.asarray(Image.open(path))
        if mode == '1':
            image = Image.fromarray(labels == 1)
        elif mode == 'I;16':
            image = Image.fromarray(labels.astype(np.uint16))
        else:
            image = Image.fromarray(labels)
        if mode == 'P':
            image.putpalette([9, 9, 9, 200, 0, 0])
        image.save(path)
    config = CONFIGS / 'mmsegmentation' / 'fcn_r50-d8_4xb4-20k_voc12aug-512x512.py'
    cfg = build_config(options(config, tmp_path, seg_data=data, seg_classes='a,b'))
    with DefaultScope.overwrite_default_scope('mmseg'):
        pipeline = [
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs'),
        ]
        data = DATASETS.build(dict(cfg.val_dataloader.dataset, pipeline=pipeline))
        metric = METRICS.build(cfg.val_evaluator)
    metric.dataset_meta = data.metainfo
    for i in range(len(data)):
        sample = data[i]['data_samples']
        truth = sample.gt_sem_seg.data
        assert {*truth.unique().tolist()} <= {0, 1, 255}
        metric.process({}, [dict(pred_sem_seg=dict(data=truth), gt_sem_seg=dict(data=truth))])
    assert metric.evaluate(len(data))['mIoU'] == 100
