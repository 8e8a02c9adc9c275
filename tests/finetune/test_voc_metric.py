"""The VOC figures against a plain computation from the definition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip('mmdet')

CLASSES = ('cat', 'dog', 'cow')
THRESHOLDS = [n / 100 for n in range(50, 100, 5)]


def overlap(a, b) -> float:
    """VOC development kit: pixels are counted, so widths get one more."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    area = [(r[2] - r[0] + 1) * (r[3] - r[1] + 1) for r in (a, b)]
    return width * height / (sum(area) - width * height)


def plain_ap(images, label: int, threshold: float):
    """11-point AP of a class by the development kit's steps.

    Args:
        images: (detections [(label, score, box)], objects [(label, box,
            difficult)]) of each image.

    Returns:
        AP, or None for a class without objects.
    """
    objects = sum(1 for _, truth in images for kind, _, hard in truth if kind == label and not hard)
    if not objects:
        return None
    found = sorted(
        (
            (score, index, box)
            for index, (dets, _) in enumerate(images)
            for kind, score, box in dets
            if kind == label
        ),
        key=lambda item: -item[0],
    )
    taken, outcome = set(), []
    for _, index, box in found:
        truth = [
            (i, b, hard) for i, (kind, b, hard) in enumerate(images[index][1]) if kind == label
        ]
        best = max(truth, key=lambda t: overlap(box, t[1]), default=None)
        if best is None or overlap(box, best[1]) < threshold:
            outcome.append(False)
        elif best[2]:
            continue  # a difficult object: neither right nor wrong
        elif (index, best[0]) in taken:
            outcome.append(False)
        else:
            taken.add((index, best[0]))
            outcome.append(True)
    points = []
    for tenth in range(11):
        best = 0.0
        for n in range(1, len(outcome) + 1):
            hits = sum(outcome[:n])
            # As floats: 0.3 of 10 objects are 3.
            if hits / objects >= np.arange(0, 1.1, 0.1)[tenth]:
                best = max(best, hits / n)
        points.append(best)
    return sum(points) / 11


def plain(images):
    rows = []
    for threshold in THRESHOLDS:
        aps = [plain_ap(images, label, threshold) for label in range(len(CLASSES))]
        aps = [ap for ap in aps if ap is not None]
        rows.append(100 * sum(aps) / len(aps) if aps else 0.0)
    return dict(AP=sum(rows) / 10, AP50=rows[0], AP75=rows[5])


def boxes(rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def metric(images):
    from dense_ssl.finetune.voc_metric import VOCDetectionMetric

    out = VOCDetectionMetric()
    out.dataset_meta = dict(classes=CLASSES)
    samples = []
    for dets, truth in images:

        def side(hard, truth=truth):
            kept = [t for t in truth if t[2] == hard]
            return dict(
                bboxes=boxes([t[1] for t in kept]), labels=torch.tensor([t[0] for t in kept]).long()
            )

        samples.append(
            dict(
                gt_instances=side(False),
                ignored_instances=side(True),
                pred_instances=dict(
                    bboxes=boxes([d[2] for d in dets]),
                    scores=torch.tensor([d[1] for d in dets]).float(),
                    labels=torch.tensor([d[0] for d in dets]).long(),
                ),
            )
        )
    out.process({}, samples)
    return {key.split('/')[-1]: value for key, value in out.evaluate(len(samples)).items()}


BOX = (10, 10, 49, 49)


def test_a_perfect_detector():
    images = [
        (
            [(0, 0.9, BOX), (1, 0.8, (60, 60, 80, 90))],
            [(0, BOX, False), (1, (60, 60, 80, 90), False)],
        )
    ]
    assert metric(images) == pytest.approx(dict(AP=100, AP50=100, AP75=100))


def test_thresholds_by_hand():
    # 40 x 40 pixels and 40 x 32 inside of it: IoU 0.8, so six or seven of
    # the ten thresholds are met: .5 to .8.
    images = [([(0, 0.9, (10, 10, 49, 41))], [(0, BOX, False)])]
    found = metric(images)
    assert found == pytest.approx(dict(AP=70, AP50=100, AP75=100))


def test_eleven_points_by_hand():
    # One of two objects is found, after a wrong detection: precision 1/2 up
    # to recall 1/2, which six of the eleven points (0 to .5) reach.
    images = [
        (
            [(0, 0.9, (100, 100, 120, 120)), (0, 0.8, BOX)],
            [(0, BOX, False), (0, (60, 60, 80, 90), False)],
        )
    ]
    assert metric(images)['AP50'] == pytest.approx(100 * 6 / 11 / 2)


def test_difficult_objects_neither_help_nor_hurt():
    images = [
        (
            [(0, 0.9, (60, 60, 80, 90)), (0, 0.8, BOX)],
            [(0, BOX, False), (0, (60, 60, 80, 90), True)],
        )
    ]
    assert metric(images)['AP'] == pytest.approx(100)


def test_a_second_box_on_one_object_is_wrong():
    images = [([(0, 0.9, BOX), (0, 0.8, BOX)], [(0, BOX, False), (0, (60, 60, 80, 90), False)])]
    assert metric(images)['AP50'] == pytest.approx(100 * 6 / 11)


@st.composite
def scenes(draw):
    images = []
    score = iter(np.random.RandomState(draw(st.integers(0, 99))).permutation(200) / 200.0)
    rng = np.random.RandomState(draw(st.integers(0, 10**6)))
    for _ in range(draw(st.integers(2, 4))):
        truth, dets = [], []
        for _ in range(draw(st.integers(0, 4))):
            x, y = rng.randint(0, 60, 2)
            w, h = rng.randint(8, 40, 2)
            label = rng.randint(3)
            truth.append((label, (x, y, x + w, y + h), rng.rand() < 0.2))
            for _ in range(rng.randint(0, 3)):
                shift = rng.randint(-4, 5, 4)
                box = tuple(np.array(truth[-1][1]) + shift)
                kind = label if rng.rand() < 0.8 else rng.randint(3)
                dets.append((kind, float(next(score)), box))
        images.append((dets, truth))
    return images


@pytest.mark.filterwarnings('ignore')
@settings(max_examples=5, deadline=None)
@given(scenes())
def test_random_scenes(images):
    if not any(not hard for _, truth in images for _, _, hard in truth):
        return
    assert metric(images) == pytest.approx(plain(images), abs=1e-3)
