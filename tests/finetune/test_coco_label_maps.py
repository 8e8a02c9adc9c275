"""Label maps made from instance masks."""

import cv2
import numpy as np
import pytest

from dense_ssl.errors import UserError
from dense_ssl.finetune.data.coco import read_annotations
from dense_ssl.finetune.data.coco_label_maps import class_words, semantic_map, write_label_maps
from dense_ssl.finetune.data.label_maps import parse_classes, read_layout

from .tiny_data import write_coco


def square(x, y, side):
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


def test_smaller_objects_lie_on_top_and_crowds_are_ignored():
    crowd = dict(size=[10, 10], counts=[90, 10])  # the last column
    annotations = [
        dict(category_id=8, segmentation=square(2, 2, 2)),
        dict(category_id=3, segmentation=square(0, 0, 6)),
        dict(category_id=3, segmentation=crowd, iscrowd=1),
    ]
    labels = semantic_map(dict(height=10, width=10), annotations, [dict(id=3), dict(id=8)])
    expected = np.zeros((10, 10), np.uint8)
    expected[:6, :6] = 1
    expected[2:4, 2:4] = 2
    expected[:, 9] = 255
    assert np.array_equal(labels, expected)


@pytest.mark.parametrize(
    'names, words',
    [
        (['left', 'right one'], 'background,left,right one'),
        (['background', 'a'], '3'),  # twice
        (['a, b', 'a'], '3'),
        ([' a', 7], '3'),
        (['a'] * 255, ''),
    ],
)
def test_names_of_classes_or_their_number(names, words):
    content = dict(categories=[dict(name=name) for name in names], annotations=[])
    assert class_words(content) == words
    if words:
        assert len(parse_classes(words)) == len(names) + 1


def test_no_classes_where_a_mask_is_missing():
    objects = [dict(segmentation=square(0, 0, 2)), dict(segmentation=[])]
    assert class_words(dict(categories=[dict(name='a')], annotations=objects)) == ''


def test_maps_are_written_with_large_images_shrunk(tmp_path, monkeypatch):
    monkeypatch.setattr('dense_ssl.finetune.data.coco_label_maps._LONGEST', 32)
    path, images = write_coco(tmp_path, images=4)
    content, _ = read_annotations(str(path), str(images))
    parts = dict(train={**content, 'images': content['images'][:3]}, val=content)
    write_label_maps(tmp_path / 'maps', parts, images)
    found = read_layout(str(tmp_path / 'maps'), parse_classes(class_words(content)))
    assert {split: len(pairs) for split, pairs in found.pairs.items()} == dict(train=3, val=4)
    for i, (image, labels) in enumerate(found.pairs['val']):
        pixels, values = cv2.imread(str(image)), cv2.imread(str(labels), cv2.IMREAD_UNCHANGED)
        assert pixels.shape == (32, 32, 3) and values.shape == (32, 32)
        inside = values > 0
        assert {*values[inside]} == {1 + i % 2} and inside.sum() == pytest.approx(195, rel=0.1)
        assert pixels[inside].mean() > pixels[~inside].mean() + 100


def test_another_size_than_is_said(tmp_path):
    path, images = write_coco(tmp_path)
    content, _ = read_annotations(str(path), str(images))
    content['images'][1]['width'] = 63
    with pytest.raises(UserError, match='1.png has 64 x 64 pixels, .*say 63 x 64'):
        write_label_maps(tmp_path / 'maps', dict(train=content), images)
