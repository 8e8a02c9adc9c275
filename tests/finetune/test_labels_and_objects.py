"""What of own labels is refused, what is left out, and what the log says of it."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from dense_ssl.errors import UserError
from dense_ssl.finetune.data import label_scan
from dense_ssl.finetune.data.coco import _check_image_sizes, read_annotations
from dense_ssl.finetune.data.label_maps import check_labels, use_segmentation_data
from dense_ssl.finetune.edits import read_any_mask

from .test_truth_scores_one import HEIGHT, WIDTH, coco, each_annotation
from .test_user_data import seg_config
from .tiny_data import write_segmentation


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Read changed annotations; returns (content, log)."""
    for i in range(3):
        (tmp_path / f'{i}.png').touch()

    def run(change, each=4):
        content = coco(each=each)
        change(content)
        path = tmp_path / 'instances.json'
        path.write_text(json.dumps(content))
        return read_annotations(str(path), str(tmp_path))[0]

    return run


@pytest.fixture
def said(monkeypatch):
    """What is logged: (level, text)."""
    lines = []

    def note(text, logger=None, level=20):
        lines.append((level, text))

    for name in ('coco', 'coco_objects', 'label_maps'):
        monkeypatch.setattr(f'dense_ssl.finetune.data.{name}.print_log', note)
    return lines


def to_corners(annotation, _):
    x, y, w, h = annotation['bbox']
    annotation['bbox'] = [x, y, x + w, y + h]


def without_masks(change):
    def apply(annotation, i):
        annotation['segmentation'] = []
        change(annotation, i)

    return apply


def with_its_area(annotation, i):
    to_corners(annotation, i)
    annotation['area'] = annotation['bbox'][2] * annotation['bbox'][3]


def in_fractions(annotation, _):
    size = [WIDTH, HEIGHT] * 2
    annotation['bbox'] = [v / s for v, s in zip(annotation['bbox'], size)]


def polygons_in_fractions(annotation, _):
    annotation['segmentation'] = [[v / 160 for v in annotation['segmentation'][0]]]


@pytest.mark.parametrize(
    'change,words',
    [
        (to_corners, r'x2 - x1, y2 - y1'),
        (without_masks(to_corners), r'x2 - x1, y2 - y1'),
        (without_masks(with_its_area), r'x2 - x1, y2 - y1'),
        (in_fractions, 'fractions of the image.*multiply'),
        (without_masks(in_fractions), 'fractions of the image.*multiply'),
        (polygons_in_fractions, 'polygons.*fractions of the image'),
    ],
)
def test_boxes_of_another_kind_are_recognised(read, change, words):
    with pytest.raises(UserError, match=words):
        read(each_annotation(change), each=30 if 'polygons' not in words else 4)


@pytest.mark.parametrize('masks', [True, False])
def test_large_and_reaching_boxes_are_not_taken_for_corners(read, masks):
    """The whole image, or a little more than it, in all images."""

    def change(annotation, i):
        annotation['bbox'] = [1, 1, WIDTH - 1 + i % 5, HEIGHT - 1]
        annotation['area'] = annotation['bbox'][2] * annotation['bbox'][3]
        annotation['segmentation'] = [[1, 1, WIDTH, 1, WIDTH, HEIGHT, 1, HEIGHT]] if masks else []

    assert len(read(each_annotation(change))['annotations']) == 12


def test_a_few_odd_boxes_are_left_out_by_cause(read, said):
    def change(content):
        boxes = [[0, 0, 0.4, 9], [WIDTH + 5, 0, 9, 9], [5, 5, 0, 9], [7, 7, 9, 9]]
        for annotation, box in zip(content['annotations'], boxes):
            annotation['bbox'] = box
        content['annotations'][3].update(segmentation=[[1, 1, 1, 1, 1, 1]], area=0)
        content['annotations'][4]['ignore'] = 1

    content = read(change, each=30)
    assert len(content['annotations']) == 90 - 4
    (level, text), *_ = [line for line in said if 'neither in training' in line[1]]
    assert '5 of 90 objects (5.6%)' in text and level > 20  # a warning, above 5 %
    for words in (
        '1 with a box thinner than a pixel',
        '1 outside of the image',
        '1 with a box without width or height',
        '1 with a mask without a pixel',
        '1 marked "ignore"',
    ):
        assert words in text
    said.clear()
    read(each_annotation(lambda a, i: a.update(ignore=int(i == 7))), each=30)
    assert [level for level, text in said if '1 of 90' in text] == [20]


@pytest.mark.parametrize(
    'change,cause',
    [
        (lambda a, i: a.update(bbox=[1000, 5, 9, 9]), '12 outside of the image'),
        (lambda a, i: a.update(bbox=[5, 5, 9, 0.5]), '12 with a box thinner'),
        (lambda a, i: a.update(ignore=True), '12 marked "ignore"'),
        (lambda a, i: a.update(iscrowd=1), 'all are crowds'),
    ],
)
def test_nothing_left_is_refused(read, change, cause):
    with pytest.raises(UserError, match=f'no object is left of 12.*{cause}'):
        read(each_annotation(change))


@pytest.mark.parametrize(
    'change,words',
    [
        (lambda a, i: a.update(iscrowd='perhaps'), "iscrowd 'perhaps'"),
        (lambda a, i: a.update(bbox=['a', 1, 1, 1]), r"bbox \['a'"),
        (lambda a, i: a.update(id=[1]), r'id \[1\] is no number'),
        (lambda a, i: a.update(image_id=None), 'image_id None'),
        (lambda a, i: a.update(id=7), r'not unique \(7, 12 times\)'),
    ],
)
def test_values_without_a_meaning_are_refused(read, change, words):
    with pytest.raises(UserError, match=words):
        read(each_annotation(change))


def test_derived_areas_are_said(read, said):
    def change(content):
        content['annotations'][0].pop('area')
        content['annotations'][1]['area'] = None
        content['annotations'][2]['area'] = 0
        content['annotations'][3].update(segmentation=[[0, 0, 10, 0, 10, 10, 0, 10]], area=-1)

    areas = [a['area'] for a in read(change)['annotations']]
    assert areas[:5] == [400, 400, 400, 100, 400]
    assert [text for _, text in said if '4 of 12 areas' in text]


def test_a_width_in_part_of_a_pixel(read):
    with pytest.raises(UserError, match='width 160.5; a number of pixels'):
        read(lambda content: content['images'][0].update(width=160.5))


def test_a_crowd_without_a_mask_takes_its_box(read):
    content = read(lambda c: c['annotations'][0].update(iscrowd=1, segmentation=[]))
    assert content['annotations'][0]['segmentation'] == [[0, 0, 20, 0, 20, 20, 0, 20]]


@pytest.mark.parametrize('shown', [True, False])
def test_sizes_of_images_with_a_rotation(tmp_path, shown):
    """Boxes on the image as it is shown are right, those on the stored pixels lie elsewhere."""
    content = coco(images=1)
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = (HEIGHT, WIDTH) if shown else (WIDTH, HEIGHT)
    Image.new('RGB', stored).save(tmp_path / '0.png', exif=exif)
    if shown:
        _check_image_sizes('a.json', content, str(tmp_path))
    else:
        with pytest.raises(UserError, match='1 of 1 .*0.png 120 x 160, not 160 x 120.*EXIF'):
            _check_image_sizes('a.json', content, str(tmp_path))


def test_masks_are_read_as_bitmaps():
    steps = [dict(type='LoadAnnotations', with_mask=True, poly2mask=False)]
    cfg = Config(dict(train_dataloader=dict(dataset=dict(pipeline=steps))))
    read_any_mask(cfg)
    assert 'poly2mask' not in cfg.train_dataloader.dataset.pipeline[0]


def rewrite(root, change, split='*'):
    for path in sorted(root.glob(f'ann_dir/{split}/*.png')):
        Image.fromarray(change(np.asarray(Image.open(path)))).save(path)


@pytest.mark.parametrize('split', ['train', 'val', '*'])
@pytest.mark.parametrize(
    'change,words',
    [
        (lambda m: (m % 3 > 0).astype(np.uint8) * 255, r'class 1 \(b\), 2 \(c\).*255, which means'),
        (lambda m: np.where(m == 2, 255, m), r'class 2 \(c\).*255, which means ignored'),
        (lambda m: np.where(m == 1, 0, m), r'class 1 \(b\)\. .*--accept-absent-classes'),
        (lambda m: np.full_like(m, 255), r'class 0 \(a\), 1 \(b\), 2 \(c\)'),
        (lambda m: np.where(m == 1, 127, m), 'holds the index 127'),
        (lambda m: np.where(m == 1, 300, m.astype(np.uint16)), 'holds the index 300'),
        (lambda m: m[::2], '4 of 4 label maps have another size.*64 x 32 pixels'),
    ],
)
def test_label_maps_that_would_score_all_the_same(tmp_path, split, change, words):
    root = write_segmentation(tmp_path)
    rewrite(root, change, split)
    with pytest.raises(UserError, match=words):
        use_segmentation_data(seg_config(), str(root), tuple('abc'))


def test_an_absent_class_may_be_accepted_one_class_alone_not(tmp_path, said):
    root = write_segmentation(tmp_path)
    rewrite(root, lambda m: np.where(m == 1, 0, m), 'val')
    use_segmentation_data(seg_config(), str(root), tuple('abc'), accept_absent=True)
    assert [text for level, text in said if level > 20 and 'class 1 (b)' in text]
    assert [text for _, text in said if '4 images, 3 of 3 classes' in text]
    rewrite(root, lambda m: np.where(m == 2, 0, m), 'val')
    with pytest.raises(UserError, match='no label map of 4'):
        use_segmentation_data(seg_config(), str(root), tuple('abc'), accept_absent=True)


def test_no_file_is_passed_over(tmp_path):
    root = write_segmentation(tmp_path, images=150)
    path = root / 'ann_dir' / 'train' / '101.png'
    Image.fromarray(np.full((64, 64), 9, np.uint8)).save(path)
    with pytest.raises(UserError, match='101.png holds the index 9'):
        use_segmentation_data(seg_config(), str(root), tuple('abc'))


def turn(path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.open(path).crop((0, 0, 64, 48))
    image.save(path, exif=exif)


def test_images_with_a_rotation(tmp_path, said):
    root = write_segmentation(tmp_path)
    for path in root.glob('img_dir/*/*.jpg'):
        turn(path, 6)
    rewrite(root, lambda m: m[-48:].copy())
    with pytest.raises(UserError, match='64 x 48.*stored rotated .EXIF orientation 6'):
        use_segmentation_data(seg_config(), str(root), tuple('abc'))
    rewrite(root, lambda m: np.rot90(m).copy())
    use_segmentation_data(seg_config(), str(root), tuple('abc'))
    assert not [text for level, text in said if level > 20]


def test_a_rotation_that_sizes_do_not_show_is_said(tmp_path, said):
    root = write_segmentation(tmp_path)
    turn(root / 'img_dir/train/2.jpg', 3)
    rewrite_one = root / 'ann_dir/train/2.png'
    Image.open(rewrite_one).crop((0, 16, 64, 64)).save(rewrite_one)
    use_segmentation_data(seg_config(), str(root), tuple('abc'))
    assert [text for level, text in said if level > 20 and '2.jpg' in text and 'EXIF' in text]


def test_broken_files_are_named(tmp_path):
    root = write_segmentation(tmp_path)
    path = root / 'img_dir/val/3.jpg'
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match='val/3.jpg'):
        use_segmentation_data(seg_config(), str(root), tuple('abc'))
    path = root / 'ann_dir/train/1.png'
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match='train/1.png'):
        use_segmentation_data(seg_config(), str(root), tuple('abc'))


def test_images_of_two_endings(tmp_path):
    root = write_segmentation(tmp_path)
    Image.open(root / 'img_dir/val/0.jpg').save(root / 'img_dir/val/0.png')
    with pytest.raises(UserError, match='same file ending'):
        use_segmentation_data(seg_config(), str(root), tuple('abc'))


@pytest.fixture
def old_maps(tmp_path):
    """Label maps written a while ago."""
    paths = []
    for i in range(3):
        paths.append(tmp_path / f'{i}.png')
        Image.fromarray(np.full((4, 5), i, np.uint8)).save(paths[-1])
    return paths


def test_what_is_known_is_not_read_again(old_maps, monkeypatch):
    read = []

    def look(path):
        read.append(path)
        return label_scan.map_content(path)

    look.__name__ = 'look'
    monkeypatch.setattr(label_scan, '_YOUNG', 0)
    first = label_scan.scan(old_maps, look)
    assert len(read) == 3 and label_scan.scan(old_maps, look) == first and len(read) == 3
    assert first[2] == dict(size=[5, 4], values={'2': 20})
    # The same size and the same time of change: the time of the status tells.
    before = old_maps[1].stat()
    Image.fromarray(np.full((4, 5), 2, np.uint8)).save(old_maps[1])
    os.utime(old_maps[1], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert old_maps[1].stat().st_size == before.st_size
    assert label_scan.scan(old_maps, look)[1]['values'] == {'2': 20} and len(read) == 4
    for file in Path(os.environ['XDG_CACHE_HOME']).rglob('*.json'):
        file.write_text('[')
    assert len(label_scan.scan(old_maps, look)) == 3 and len(read) == 7


def test_young_files_are_read_again(old_maps):
    assert time.time() - old_maps[0].stat().st_mtime < label_scan._YOUNG
    label_scan.scan(old_maps, label_scan.map_content)
    assert not list(Path(os.environ['XDG_CACHE_HOME']).rglob('*.json'))


def test_without_a_cache_folder(old_maps, monkeypatch):
    monkeypatch.setattr(label_scan, '_YOUNG', 0)
    monkeypatch.setenv('XDG_CACHE_HOME', str(old_maps[0]))
    assert len(check_labels(old_maps, 3)) == 3
