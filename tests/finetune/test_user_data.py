"""A user's own annotations: what is made of them, and what is refused."""

import json

import mmcv
import numpy as np
import pytest
from mmengine.config import Config

from dense_ssl.cli.options import merge_options
from dense_ssl.errors import UserError
from dense_ssl.finetune import edits as adjust
from dense_ssl.finetune.data.coco import hold_out, read_annotations
from dense_ssl.finetune.data.label_maps import check_labels, parse_classes, use_segmentation_data
from dense_ssl.transfer import TransferError

from .tiny_data import write_coco, write_segmentation


def spoilt(path, change) -> str:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return str(path)


@pytest.mark.parametrize(
    'change,words',
    [
        (lambda c: c.pop('categories'), '"categories" is missing'),
        (lambda c: c['images'].clear(), '"images" is missing or empty'),
        (lambda c: c['images'][1].pop('width'), 'no "width"'),
        (lambda c: c['images'][1].update(file_name='gone.png'), 'gone.png'),
        (lambda c: c['images'][1].update(id=0), 'not unique'),
        (lambda c: c['annotations'][0].update(image_id=77), '77'),
        (lambda c: c['annotations'][0].update(category_id=77), 'category_id 77'),
        (lambda c: c['annotations'][0].update(bbox=[1, 2, 3]), r'bbox \[1, 2, 3'),
        (lambda c: c['annotations'][0].update(bbox=[1, 2, 3, float('nan')]), 'bbox'),
        (lambda c: c['annotations'][1].update(id=1), 'annotation ids'),
        (lambda c: c['categories'][1].update(name='square'), 'not unique'),
    ],
)
def test_contradictory_annotations_are_named(tmp_path, change, words):
    path, images = write_coco(tmp_path)
    path = spoilt(path, change)
    with pytest.raises(TransferError, match=words) as caught:
        read_annotations(path, str(images))
    assert 'instances.json' in str(caught.value)


def test_absent_and_foreign_files(tmp_path):
    path, images = write_coco(tmp_path)
    with pytest.raises(TransferError, match='none.json does not exist'):
        read_annotations(str(tmp_path / 'none.json'), str(images))
    with pytest.raises(TransferError, match='image folder'):
        read_annotations(str(path), str(tmp_path / 'none'))
    path.write_text('{')
    with pytest.raises(TransferError, match='is not JSON'):
        read_annotations(str(path), str(images))


def test_area_and_iscrowd_are_derived(tmp_path):
    path, images = write_coco(tmp_path)
    content, changed = read_annotations(str(path), str(images))
    assert changed
    assert content['annotations'][0]['area'] == 30 * 26
    assert content['annotations'][0]['iscrowd'] == 0


def test_held_out_images_are_not_trained_on(tmp_path):
    path, images = write_coco(tmp_path, images=11)
    content, _ = read_annotations(str(path), str(images))
    train, val = hold_out(content)
    ids = [{image['id'] for image in part['images']} for part in (train, val)]
    assert len(ids[1]) == 3 and ids[0] | ids[1] == set(range(11))
    assert not ids[0] & ids[1]
    for part, own in zip((train, val), ids):
        assert {a['image_id'] for a in part['annotations']} == own


def seg_config() -> Config:
    dataset = dict(type='CityscapesDataset', pipeline=[])
    return Config(
        dict(
            model=dict(decode_head=dict(num_classes=19), auxiliary_head=[dict(num_classes=19)]),
            train_dataloader=dict(dataset=dict(dataset)),
            val_dataloader=dict(dataset=dict(dataset)),
            test_dataloader=dict(dataset=dict(dataset)),
        )
    )


@pytest.mark.parametrize('cityscapes', [False, True])
def test_both_layouts_of_label_maps(tmp_path, cityscapes):
    write_segmentation(tmp_path, cityscapes=cityscapes)
    cfg = seg_config()
    use_segmentation_data(cfg, str(tmp_path), ('a', 'b', 'c'))
    assert cfg.model.decode_head.num_classes == 3
    assert cfg.model.auxiliary_head[0].num_classes == 3
    dataset = cfg.val_dataloader.dataset
    assert dataset.metainfo.classes == ('a', 'b', 'c')
    assert dataset.data_prefix.img_path.endswith('/val')
    assert cfg.train_dataloader.dataset.data_prefix.img_path.endswith('/train')


def test_cityscapes_keeps_its_own_classes(tmp_path):
    write_segmentation(tmp_path, cityscapes=True)
    cfg = seg_config()
    use_segmentation_data(cfg, str(tmp_path))
    assert cfg.train_dataloader.dataset.type == 'CityscapesDataset'
    assert cfg.model.decode_head.num_classes == 19


def test_bad_label_maps_are_named(tmp_path):
    write_segmentation(tmp_path, classes=5)
    with pytest.raises(TransferError, match='holds the index 4.*4 classes'):
        use_segmentation_data(seg_config(), str(tmp_path), tuple('abcd'))
    colours = tmp_path / 'colours.png'
    mmcv.imwrite(np.zeros((4, 4, 3), np.uint8), str(colours))
    with pytest.raises(TransferError, match='one channel'):
        check_labels([colours], 3)
    (tmp_path / 'ann_dir' / 'train' / '2.png').unlink()
    with pytest.raises(TransferError, match='2.png is missing'):
        use_segmentation_data(seg_config(), str(tmp_path), tuple('abcde'))


def test_bad_folders_and_classes(tmp_path):
    with pytest.raises(TransferError, match='neither img_dir'):
        use_segmentation_data(seg_config(), str(tmp_path), ('a', 'b'))
    with pytest.raises(TransferError, match='does not exist'):
        use_segmentation_data(seg_config(), str(tmp_path / 'x'), ('a', 'b'))
    write_segmentation(tmp_path)
    with pytest.raises(TransferError, match='--seg-classes is needed'):
        use_segmentation_data(seg_config(), str(tmp_path))
    for text in ('1', 'sky', 'sky,sky'):
        with pytest.raises(TransferError, match='--seg-classes'):
            parse_classes(text)
    assert parse_classes('sky, road') == ('sky', 'road')
    assert len(parse_classes('11')) == 11


def test_crops_at_the_border_are_filled_up_to_the_crop():
    steps = [
        dict(type='RandomCrop', crop_size=(512, 512)),
        dict(type='Pad', size=(512, 512)),
        dict(type='Pad', size_divisor=32),
    ]
    cfg = Config(
        dict(
            model=dict(data_preprocessor=dict(size=(512, 512))),
            train_dataloader=dict(dataset=dict(pipeline=steps)),
        )
    )
    adjust.set_crop(cfg, 64, 96)
    crop, pad, other = cfg.train_dataloader.dataset.pipeline
    assert crop.crop_size == pad.size == cfg.model.data_preprocessor.size
    assert pad.size == (64, 96) and 'size' not in other


@pytest.mark.parametrize('installed', [False, True])
def test_metrics_of_absent_packages_are_left_out(monkeypatch, installed):
    from dense_ssl.finetune import absent_metrics

    monkeypatch.setattr(
        absent_metrics.importlib.util, 'find_spec', lambda name: object() if installed else None
    )
    both = [dict(type='CocoMetric'), dict(type='CityScapesMetric')]
    cfg = Config(dict(val_evaluator=both, test_evaluator=both[0]))
    absent_metrics.leave_out_absent_metrics(cfg)
    assert [e.type for e in cfg.val_evaluator] == (
        ['CocoMetric', 'CityScapesMetric'] if installed else ['CocoMetric']
    )
    assert cfg.test_evaluator.type == 'CocoMetric'
    if not installed:
        cfg.val_evaluator = both[1]
        with pytest.raises(TransferError, match='cityscapesscripts'):
            absent_metrics.leave_out_absent_metrics(cfg)


def test_scale_keeps_the_recipes_ratios():
    cfg = Config(
        dict(
            train_dataloader=dict(
                dataset=dict(
                    pipeline=[dict(type='RandomChoiceResize', scales=[(1333, 640), (1333, 800)])]
                )
            )
        )
    )
    adjust.set_scale(cfg, 200, 100)
    scales = cfg.train_dataloader.dataset.pipeline[0].scales
    assert scales == [(200, 80), (200, 100)]


def test_a_misspelt_option_is_named():
    with pytest.raises(UserError, match='Did you mean model?'):
        merge_options(Config(dict(model={})), {'modle.depth': 18})
