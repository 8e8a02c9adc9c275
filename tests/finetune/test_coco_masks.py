"""Faulty masks are named before pycocotools reads them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as mask_utils

from dense_ssl.finetune.data.coco import read_annotations
from dense_ssl.finetune.data.coco_masks import mask_fault, rle_counts
from dense_ssl.transfer import TransferError

from .tiny_data import write_coco


def compressed(mask):
    rle = mask_utils.encode(np.asfortranarray(mask.astype(np.uint8)))
    return dict(size=list(mask.shape), counts=rle['counts'].decode())


def text_of(runs):
    """Runs as pycocotools writes them, whatever they add up to."""
    return mask_utils.frPyObjects(dict(size=[5, 8], counts=runs), 5, 8)['counts'].decode()


def runs(mask):
    """Counts of runs in column order, one pixel after the other."""
    counts, value = [0], 0
    for pixel in mask.T.flatten():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.02, 0.5, 1.0]),
)
def test_text_is_decoded_as_pycocotools_does(height, width, seed, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    rle = compressed(mask)
    assert rle_counts(rle['counts']) == runs(mask)
    assert mask_fault(rle, height, width) is None
    assert mask_fault(dict(rle, counts=runs(mask)), height, width) is None


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.characters(min_codepoint=46, max_codepoint=113), max_size=8)
    | st.lists(st.integers(0, 12), max_size=6).map(
        lambda runs: text_of([*runs, max(0, 40 - sum(runs))])
    )
)
def test_pycocotools_can_read_what_passes(text):
    if mask_fault(dict(size=[5, 8], counts=text), 5, 8) is None:
        mask = mask_utils.decode(dict(size=[5, 8], counts=text))
        pixels = [i % 2 for i, n in enumerate(rle_counts(text)) for _ in range(n)]
        assert mask.T.flatten().tolist() == pixels


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 2**28), min_size=1, max_size=9))
def test_runs_of_any_length_are_decoded(runs):
    assert rle_counts(text_of(runs)) == runs


@pytest.mark.parametrize(
    'segmentation,words',
    [
        ([[]], 'polygon of 0 numbers'),
        ([[1, 2, 3, 4]], 'polygon of 4 numbers'),
        ([[1, 2, 3]], 'polygon of 3 numbers'),
        ([[1, 2, 3, 4, 5, 6, 7]], 'polygon of 7 numbers'),
        ([[1, 1, 5, 1, 5, 5], []], 'polygon of 0 numbers'),
        ([1, 1, 5, 1, 5, 5], 'polygon 1'),
        ([[1, 1, 5, 1, 5, float('nan')]], 'polygon'),
        ([[1, 1, 5, 1, 5, '5']], 'polygon'),
        ('text', 'polygons'),
        (dict(size=[64, 64]), 'without "counts"'),
        (dict(size=[32, 64], counts=[2048]), r'size \[32, 64\], the image'),
        (dict(counts=[4096]), 'size None'),
        (dict(size=[64, 64], counts=[4000]), 'add up to 4000'),
        (dict(size=[64, 64], counts=[5000, -904]), 'add up'),
        (dict(size=[64, 64], counts=[4095.5, 0.5]), 'not whole'),
        (dict(size=[64, 64], counts=[2**70]), 'too large'),
        (dict(size=[64, 64], counts='not a mask'), 'damaged'),
        (dict(size=[64, 64], counts='0' * 10), 'add up'),
        (dict(size=[64, 64], counts='o' * 30), 'damaged'),
        (dict(size=[64, 64], counts='\udce9'), 'damaged'),
        (dict(size=[64, 64], counts=''), 'without counts'),
    ],
)
def test_fault_names_file_and_annotation(tmp_path, segmentation, words):
    path, images = write_coco(tmp_path)
    content = json.loads(path.read_text())
    content['annotations'][2].update(id=77, segmentation=segmentation)
    path.write_text(json.dumps(content))
    with pytest.raises(TransferError, match=words) as caught:
        read_annotations(str(path), str(images))
    assert 'instances.json' in str(caught.value)
    assert 'annotation 77' in str(caught.value)


@pytest.mark.parametrize(
    'segmentation',
    [[], None, [[1, 1, 5, 1, 5, 5.5]], compressed(np.eye(64)), dict(size=[64, 64], counts=[4096])],
)
def test_sound_masks_pass(segmentation):
    assert mask_fault(segmentation, 64, 64) is None
