"""The dense probe against loops over pixels, and on backbones whose score is known."""

import json
import math
import subprocess
import sys
from argparse import Namespace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dense_ssl.errors import UserError
from dense_ssl.evaluation import LabeledImages, dense_probe, labeled_splits
from dense_ssl.evaluation.dense_probe import cell_labels, fit_linear, mean_iou
from dense_ssl.evaluation.features import cells, renew_norms
from tests.engine.runs import CONFIGS, ROOT, environment

COLORS = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]], np.uint8)


def write_images(folder, count, seed, size=(32, 48)):
    """Images of coloured blocks; a pixel's class is its colour, some are ignored."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(count):
        blocks = rng.integers(0, 3, (size[0] // 8, size[1] // 8))
        labels = blocks.repeat(8, 0).repeat(8, 1).astype(np.uint8)
        pairs.append((folder / f'{i}.png', folder / f'{i}_labels.png'))
        cv2.imwrite(str(pairs[-1][0]), COLORS[labels][..., ::-1])
        labels[:8, :8] = 255
        cv2.imwrite(str(pairs[-1][1]), labels)
    return pairs


def labeled(pairs, scale=(48, 32), **options):
    return LabeledImages(pairs, scale, [120.0] * 3, [60.0] * 3, **options)


class Sees(nn.Module):
    """Gives the colours of 8x8 pixels, or nothing that depends on the image."""

    def __init__(self, blind=False):
        super().__init__()
        self.blind = blind

    def forward(self, x):
        seen = F.avg_pool2d(x, 8)
        return (torch.ones_like(seen) if self.blind else seen, seen[:, :, ::2, ::2] * 0)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('labeled')
    return [write_images(root / split, 6, seed) for seed, split in enumerate(('train', 'val'))]


def test_who_sees_the_class_scores_all(data):
    result = dense_probe(Sees(), *map(labeled, data), 3, stages=(0, 1))
    assert result.knn_mIoU == 100 and result.probe_mIoU > 85  # borders are interpolated
    assert sorted(result.classes) == [0, 1, 2]


def test_who_is_blind_knows_the_most_frequent_class(data):
    train, val = (list(labeled(pairs)) for pairs in data)
    counts = [sum((b.labels == c).sum() for b in train) for c in range(3)]
    frequent = int(np.argmax(counts))
    known = sum((b.labels != 255).sum() for b in val)
    wanted = 100 * sum((b.labels == frequent).sum() for b in val) / known / 3
    result = dense_probe(Sees(blind=True), *map(labeled, data), 3, stages=(0,), cells_per_image=24)
    assert result.probe_mIoU == pytest.approx(float(wanted), abs=1e-4)


def test_the_same_seed_gives_the_same_score(data):
    one, other = (
        dense_probe(Sees(), *map(labeled, data), 3, stages=(0,), cells_per_image=9, seed=3)
        for _ in range(2)
    )
    assert one == other


def test_cell_labels_against_a_loop():
    labels = torch.randint(0, 4, (2, 16, 24), generator=torch.Generator().manual_seed(0))
    labels[labels == 3] = 255
    found = cell_labels(labels, (4, 3), 3)
    for n in range(2):
        for i in range(4):
            for j in range(3):
                cell = labels[n, 4 * i : 4 * i + 4, 8 * j : 8 * j + 8].flatten().tolist()
                most = max(cell.count(c) for c in (0, 1, 2, 255))
                assert cell.count(int(found[n, i, j])) == most


def test_mean_iou_against_a_loop():
    rng = np.random.default_rng(0)
    truth, guess = rng.integers(0, 3, (2, 500))
    guess[:100] = truth[:100]
    confusion = torch.zeros(4, 4, dtype=torch.long)
    for t, g in zip(truth, guess):
        confusion[t, g] += 1
    wanted = [
        100 * np.sum((truth == c) & (guess == c)) / np.sum((truth == c) | (guess == c))
        for c in range(3)
    ]
    score, classes = mean_iou(confusion)  # the fourth class does not occur
    assert score == pytest.approx(np.mean(wanted)) and list(classes) == [0, 1, 2]
    assert mean_iou(torch.diag(torch.tensor([5, 0, 2])))[0] == 100


def test_the_classifier_is_at_the_minimum():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 5, generator=generator)
    y = (x[:, 0] + 0.5 * torch.randn(300, generator=generator) > 0).long()
    decay = 0.1
    weight, bias = fit_linear(x, y, 2, decay)
    # the gradient in float64, from the formula of the softmax
    x, weight, bias = x.double(), weight.double(), bias.double()
    error = (x @ weight.t() + bias).softmax(1) - F.one_hot(y, 2)
    assert (error.t() @ x / 300 + decay * weight).abs().max() < 1e-3
    assert error.mean(0).abs().max() < 1e-3


def test_norms_are_those_of_the_images():
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    batches = [torch.randn(2, 3, 5, 5) + i for i in range(3)]
    means = [backbone[0](b).mean((0, 2, 3)) for b in batches]
    variances = [backbone[0](b).var((0, 2, 3)) for b in batches]
    renew_norms(backbone, batches)
    torch.testing.assert_close(backbone[1].running_mean, torch.stack(means).mean(0))
    torch.testing.assert_close(backbone[1].running_var, torch.stack(variances).mean(0))
    assert not backbone[1].training and backbone[1].momentum == 0.1


def test_coarser_maps_are_enlarged():
    x = torch.randn(1, 3, 32, 32)
    assert cells(Sees(), x, (0, 1)).shape == (1, 6, 4, 4)
    with pytest.raises(UserError, match='the backbone gives 2 maps'):
        cells(Sees(), x, (2,))


def test_images_of_several_sizes(tmp_path):
    pairs = write_images(tmp_path / 'a', 2, 0) + write_images(tmp_path / 'b', 1, 1, (64, 32))
    batches = list(labeled(pairs, scale=(24, 16)))
    assert [tuple(b.images.shape) for b in batches] == [(2, 3, 16, 24), (1, 3, 24, 12)]
    assert all(b.labels.shape[1:] == b.images.shape[2:] for b in batches)
    value = batches[0].images[0, :, 0, 12]  # a pixel inside its block
    label = int(batches[0].labels[0, 0, 12])
    torch.testing.assert_close(value, (torch.tensor(COLORS[label]).float() - 120) / 60)


def test_wide_pixels_are_read_as_in_pretraining(tmp_path):
    pairs = write_images(tmp_path / 'a', 2, 0)
    for image, _ in pairs:  # a 12-bit camera's files, none of which has the whole range
        pixels = cv2.imread(str(image), cv2.IMREAD_GRAYSCALE).astype(np.uint16)
        cv2.imwrite(str(image), pixels * 8)
    wide = [cv2.imread(str(image), cv2.IMREAD_UNCHANGED) for image, _ in pairs]
    wide[1][0, 0] = 4000
    cv2.imwrite(str(pairs[1][0]), wide[1])
    normalise = Namespace(mean=torch.zeros(3), std=torch.ones(3))
    for white, cfg in ((4095, {}), (2000, dict(white_level=2000))):
        splits = labeled_splits(cfg, [pairs, pairs[:1]], (48, 32), normalise, 'cpu')
        for split in splits:  # the first image by the level of all, in both
            found = next(iter(split)).images[0, 0]
            wanted = torch.from_numpy(wide[0].astype(np.float32)) * 255 / white
            torch.testing.assert_close(found, wanted.clamp(max=255), atol=0.51, rtol=0)


def test_nothing_but_ignored_pixels(data, tmp_path):
    pairs = write_images(tmp_path / 'a', 2, 0)
    for _, path in pairs:
        cv2.imwrite(str(path), np.full((32, 48), 255, np.uint8))
    with pytest.raises(UserError, match='no cell of the training images has a class'):
        dense_probe(Sees(), labeled(pairs), labeled(data[1]), 3, stages=(0,))
    with pytest.raises(UserError, match='no pixel of the validation images has a class'):
        dense_probe(Sees(), labeled(data[0]), labeled(pairs), 3, stages=(0,))


def test_a_label_map_of_another_size(tmp_path):
    pairs = write_images(tmp_path / 'a', 1, 0)
    cv2.imwrite(str(pairs[0][1]), np.zeros((8, 8), np.uint8))
    with pytest.raises(UserError, match='has 8x8 pixels, its image 48x32'):
        list(labeled(pairs))


def test_the_tool(tmp_path):
    for split in ('train', 'val'):
        for image, label in write_images(tmp_path / split, 3, 0):
            for kind, path in (('img_dir', image), ('ann_dir', label)):
                target = tmp_path / 'data' / kind / split / image.name
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)
    out = tmp_path / 'scores.json'
    command = [
        sys.executable, ROOT / 'tools/analysis/probe.py',
        CONFIGS / 'densecl/densecl_resnet50_1xb64-coslr-20k_small.py', 'random',
        '--seg-data', tmp_path / 'data', '--seg-classes', 3, '--scale', 48, 32, '--out', out,
        '--cfg-options', 'model.backbone.depth=18', '+model.backbone.base_channels=8',
        '+model.backbone.stem_channels=8',
    ]  # fmt: skip
    subprocess.run(list(map(str, command)), check=True, env=environment(), cwd=tmp_path)
    scores = json.loads(out.read_text())
    assert set(scores) == {'probe_mIoU', 'knn_mIoU', 'classes'}
    assert all(0 <= scores[k] <= 100 and math.isfinite(scores[k]) for k in list(scores)[:2])
