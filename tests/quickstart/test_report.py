"""Scores out of mmengine's records."""

import pytest

from dense_ssl.quickstart.report import final_scores

TRAIN = dict(loss=2.0, time=0.1, step=4)
NAMES = ['bbox_mAP', 'segm_mAP']


def test_newest_scores():
    records = [
        {'coco/bbox_mAP': 0.1, 'coco/segm_mAP': 0.2, 'time': 1.0},
        TRAIN,
        {'coco/bbox_mAP': 0.3, 'coco/segm_mAP': 0.4, 'time': 1.0},
    ]
    assert final_scores(records, NAMES) == (dict(bbox_mAP=0.3, segm_mAP=0.4), [])


def test_detector_that_finds_nothing_scores_zero():
    scores, notes = final_scores([TRAIN, dict(time=0.1, data_time=0.0)], NAMES)
    assert scores == dict(bbox_mAP=0.0, segm_mAP=0.0)
    assert len(notes) == 1 and 'finds nothing' in notes[0]


def test_missing_scores_stay_an_error():
    with pytest.raises(KeyError, match='bbox_mAP'):
        final_scores([TRAIN], NAMES)
    with pytest.raises(KeyError, match='mIoU'):
        final_scores([TRAIN, dict(time=0.1)], ['mIoU'])
