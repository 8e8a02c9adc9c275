"""The procedural scenes: same seed, same files, and labels that agree."""

import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO

from dense_ssl.errors import UserError
from dense_ssl.scenes import IGNORE, STUFF, THINGS, render_scene, thing_names, write_scenes

COUNTS = dict(num_unlabelled=5, num_train=6, num_val=3, size=96, seed=7)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp('scenes') / 'data', num_by_class=2, **COUNTS)


def contents(root):
    return {
        str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob('*')) if p.is_file()
    }


def test_scene_depends_on_its_seed_only():
    first = render_scene([3, 1, 4], 64)
    np.random.seed(0)
    render_scene([3, 1, 5], 64)
    again = render_scene([3, 1, 4], 64)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.semantic, again.semantic)
    assert not np.array_equal(first.image, render_scene([3, 1, 5], 64).image)


def test_grey_scenes_are_the_same_without_colours():
    colour, grey = (render_scene([2, 1], 64, grey=grey) for grey in (False, True))
    assert np.array_equal(colour.semantic, grey.semantic)
    assert np.ptp(grey.image, axis=2).max() == 0 < np.ptp(colour.image, axis=2).max()
    assert np.abs(colour.image.mean(2) - grey.image[..., 0]).max() <= 0.5


def test_masks_are_disjoint_and_agree_with_the_label_map():
    seen = set()
    for index in range(60):
        scene = render_scene([0, index], 80)
        assert scene.image.shape == (80, 80, 3)
        assert scene.image.dtype == scene.semantic.dtype == np.uint8
        total = np.zeros((80, 80), int)
        by_id = np.full((80, 80), -1)
        for instance in scene.instances:
            total += instance.mask
            by_id[instance.mask] = THINGS[instance.label].train_id
            seen.add(instance.label)
        assert total.max() <= 1
        inside, known = by_id >= 0, scene.semantic != IGNORE
        assert np.array_equal(scene.semantic[inside & known], by_id[inside & known])
        background = set(np.unique(scene.semantic[~inside & known]))
        assert background <= {s.train_id for s in STUFF.values()}
        # pixels to ignore lie on outlines: a small part of the picture,
        # and each near an object (the tip of a star is thinner than a pixel)
        edges = np.zeros((80, 80), np.uint8)
        for instance in scene.instances:
            mask = instance.mask.astype(np.uint8)
            # an outline may run along the border of the image
            inner = cv2.erode(mask, np.ones((9, 9)), borderType=cv2.BORDER_CONSTANT, borderValue=0)
            edges |= cv2.dilate(mask, np.ones((9, 9))) - inner
        assert not (~known & (edges == 0)).any()
        assert (~known).mean() < 0.25
    assert seen == set(range(len(THINGS)))


def test_a_front_object_hides_what_is_behind():
    """The mask of the front object is whole, the rear one loses pixels."""
    for index in range(200):
        both = render_scene([1, index], 96, labels=[1, 0])
        if len(both.instances) < 2:
            continue
        rear, front = (i.mask for i in both.instances)
        grown = cv2.dilate(front.astype(np.uint8), np.ones((3, 3))) > 0
        if (grown & rear).any():
            # the front disc is convex: filling its hull adds next to nothing
            points = cv2.findNonZero(front.astype(np.uint8))
            hull = cv2.contourArea(cv2.convexHull(points))
            assert front.sum() > 0.95 * hull
            return
    pytest.fail('no overlap in 200 scenes')


def test_labels_are_kept_and_too_small_is_refused():
    scene = render_scene([5], 128, labels=[4])
    assert [i.label for i in scene.instances] in ([4], [])
    with pytest.raises(ValueError, match='at least 32 px, got 31'):
        render_scene([0], 31)


@pytest.mark.parametrize('split,count', [('train', 6), ('val', 3)])
def test_coco_file_agrees_with_itself_and_the_label_map(root, split, count):
    coco = COCO(str(root / f'annotations/instances_{split}.json'))
    assert [c['name'] for c in coco.loadCats(coco.getCatIds())] == list(thing_names())
    assert len(coco.imgs) == count and len(coco.anns) > count
    for image in coco.loadImgs(coco.getImgIds()):
        pixels = cv2.imread(str(root / 'images' / split / image['file_name']))
        assert pixels.shape == (image['height'], image['width'], 3)
        stem = f'scenes/scenes_{image["id"] - 1:06d}_000000'
        city = root / 'cityscapes'
        png = cv2.imread(str(city / f'leftImg8bit/{split}/{stem}_leftImg8bit.png'))
        assert np.abs(png.astype(int) - pixels).mean() < 15  # only JPEG apart
        labels = cv2.imread(
            str(city / f'gtFine/{split}/{stem}_gtFine_labelTrainIds.png'), cv2.IMREAD_UNCHANGED
        )
        assert labels.shape == pixels.shape[:2]
        union = np.zeros(labels.shape, int)
        for ann in coco.loadAnns(coco.getAnnIds(image['id'])):
            mask = coco.annToMask(ann)
            union += mask
            ys, xs = np.nonzero(mask)
            box = [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
            assert ann['bbox'] == box
            assert ann['area'] == mask.sum() == mask_utils.area(coco.annToRLE(ann))
            assert ann['iscrowd'] == 0
            train_id = THINGS[ann['category_id'] - 1].train_id
            assert set(np.unique(labels[mask > 0])) <= {train_id, IGNORE}
        assert union.max() <= 1
        things = np.isin(labels, [c.train_id for c in THINGS])
        assert not (things & (union == 0)).any()


def test_unlabelled_and_by_class_layout(root):
    names = [p.name for p in root.glob('unlabelled/part_*/*.jpg')]
    assert sorted(names) == [f'{i:06d}.jpg' for i in range(5)]
    for name in thing_names():
        assert len(list((root / 'by_class/train' / name).iterdir())) == 2
        assert len(list((root / 'by_class/val' / name).iterdir())) == 1


def test_splits_do_not_share_images(root):
    images = [p.read_bytes() for p in root.rglob('*.jpg') if 'by_class' not in p.parts]
    assert len(set(images)) == len(images) == 5 + 6 + 3


def test_equal_parameters_give_equal_files(root, tmp_path):
    other = write_scenes(tmp_path / 'again', num_by_class=2, workers=2, **COUNTS)
    assert contents(other) == contents(root)


def test_finished_data_set_is_left_alone(tmp_path, monkeypatch):
    root = write_scenes(tmp_path / 'a', 2, 1, 1, size=32)
    times = {p: p.stat().st_mtime_ns for p in root.rglob('*')}
    write_scenes(root, 2, 1, 1, size=32)
    assert {p: p.stat().st_mtime_ns for p in root.rglob('*')} == times


def test_interrupted_write_completes(root, tmp_path, monkeypatch):
    from dense_ssl.scenes import writer

    target = tmp_path / 'broken'
    calls = []

    def fail_late(path, data):
        calls.append(path)
        if len(calls) > 12:
            path.with_name(path.name + '.part').write_bytes(data[:10])
            raise KeyboardInterrupt
        return replace(path, data)

    replace = writer._replace
    monkeypatch.setattr(writer, '_replace', fail_late)
    with pytest.raises(KeyboardInterrupt):
        write_scenes(target, num_by_class=2, **COUNTS)
    monkeypatch.undo()
    assert not json.loads((target / 'manifest.json').read_text())['complete']
    write_scenes(target, num_by_class=2, **COUNTS)
    assert contents(target) == contents(root)


def test_lost_file_is_written_again(tmp_path):
    root = write_scenes(tmp_path / 'a', 2, 1, 1, size=32)
    before = contents(root)
    next(root.rglob('*leftImg8bit.png')).unlink()
    assert contents(write_scenes(root, 2, 1, 1, size=32)) == before


def test_other_parameters_rebuild(tmp_path):
    root = write_scenes(tmp_path / 'a', 4, 1, 1, size=32)
    write_scenes(root, 2, 1, 1, size=40)
    assert len(list(root.glob('unlabelled/*/*'))) == 2
    assert cv2.imread(str(next(root.rglob('*.jpg')))).shape == (40, 40, 3)


def test_foreign_folder_is_not_touched(tmp_path):
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images' / 'mine.txt').write_text('x')
    with pytest.raises(UserError, match='choose another folder'):
        write_scenes(tmp_path, 1, 1, 1, size=32)
    assert (tmp_path / 'images' / 'mine.txt').exists()


@pytest.mark.parametrize('wrong', [dict(seed=-1), dict(num_val=-2)])
def test_negative_numbers_are_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        write_scenes(tmp_path / 'a', **wrong)


def test_mmdet_reads_it(root):
    pytest.importorskip('mmdet')
    from mmdet.registry import DATASETS
    from mmdet.utils import register_all_modules

    register_all_modules()
    data = DATASETS.build(
        dict(
            type='CocoDataset',
            data_root=str(root),
            ann_file='annotations/instances_train.json',
            data_prefix=dict(img='images/train/'),
            metainfo=dict(classes=thing_names()),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
                dict(type='PackDetInputs'),
            ],
        )
    )
    assert len(data) == 6
    coco = COCO(str(root / 'annotations/instances_train.json'))
    for item in data:
        sample = item['data_samples']
        anns = coco.loadAnns(coco.getAnnIds(sample.img_id))
        assert not sample.ignored_instances.bboxes.shape[0]
        labels = [a['category_id'] - 1 for a in anns]
        assert sample.gt_instances.labels.tolist() == labels
        masks = sample.gt_instances.masks.masks
        assert [m.sum() for m in masks] == [a['area'] for a in anns]


def test_mmseg_reads_it(root):
    pytest.importorskip('mmseg')
    from mmseg.registry import DATASETS
    from mmseg.utils import register_all_modules

    register_all_modules()
    data = DATASETS.build(
        dict(
            type='CityscapesDataset',
            data_root=str(root / 'cityscapes'),
            data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations'),
                dict(type='PackSegInputs'),
            ],
        )
    )
    assert len(data) == 3
    allowed = {IGNORE} | {c.train_id for c in (*THINGS, *STUFF.values())}
    assert max(allowed - {IGNORE}) < len(data.metainfo['classes'])
    for item in data:
        labels = item['data_samples'].gt_sem_seg.data
        assert set(labels.unique().tolist()) <= allowed
        assert len(labels.unique()) > 2
