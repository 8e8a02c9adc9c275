"""Supervised MCL: its losses, and its configs on a class-per-folder set."""

from math import exp, log

import pytest
import torch
from mmpretrain.structures import DataSample

from dense_ssl.registry import MODELS
from projects.supervised_mcl.supervised_mcl import CellClassificationHead, SameClassContrastHead
from tests.models.tiny_mcl import mcl_config, randomise, views


def samples(classes):
    return [DataSample().set_gt_label(c) for c in classes]


def classifier(**options):
    torch.manual_seed(0)
    cfg = mcl_config()
    cfg.pop('predictor')
    cfg.update(
        type='dense_ssl.CellClassifier',
        head=dict(type='CellClassificationHead', num_classes=3, in_channels=4),
        data_preprocessor=None,
    )
    cfg.update(options)
    return randomise(MODELS.build(cfg))


def test_same_class_contrast_reference():
    torch.manual_seed(0)
    z = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    targets = torch.randn(4, 4, dtype=torch.float64)
    labels, classes = torch.tensor([0, 1, 2, 3, 3]), torch.tensor([7, 2, 7, 9])
    head = SameClassContrastHead((0.25,), temperature=0.3)
    (result,) = head.loss([z], [labels], targets, classes)

    unit = [r / r.norm() for r in targets]
    total, positive, negative = 0.0, [], []
    for row, label in zip(z.detach(), labels):
        cosines = [float(row @ t / row.norm()) for t in unit]
        norm = log(sum(exp(c / 0.3) for c in cosines))
        mine = [c for c, k in zip(cosines, classes) if k == classes[label]]
        total += sum(norm - c / 0.3 for c in mine) / len(mine) / 5
        positive += mine
        negative += [c for c in cosines if c not in mine]
    assert result.loss.item() == pytest.approx(2 * 0.3 * 0.25 * total)
    assert result.pos_cos.item() == pytest.approx(sum(positive) / len(positive))
    assert result.neg_cos.item() == pytest.approx(sum(negative) / len(negative))
    assert torch.autograd.gradcheck(lambda z: head.loss([z], [labels], targets, classes)[0].loss, z)


def test_is_mcl_where_all_classes_differ():
    options = dict(backbone=dict(type='TinyPyramid'))
    results = []
    for kind in ('MCL', 'SupervisedMCL'):
        torch.manual_seed(0)
        model = randomise(MODELS.build(mcl_config(type=f'dense_ssl.{kind}', **options)))
        torch.manual_seed(1)
        results.append(model.loss(views(), samples([5, 0, 3])))
    for key, value in results[0].items():
        torch.testing.assert_close(results[1][key], value)


def test_cells_are_classified_by_their_images():
    model = classifier().eval()
    inputs, classes = views(number=4), [2, 0, 1]
    torch.manual_seed(1)
    losses = model.loss(inputs, samples(classes))
    torch.manual_seed(1)
    side = model.levels(inputs)
    start = 0
    for level, ratio in enumerate((1, 2, 4, 8)):
        count = side.counts[level]
        maps = model.neck(model.backbone(side.images[start : start + count]))
        start += count
        logits = model.head.fc(model.region_head(maps[3 - level], ratio))
        nll = [
            row.exp().sum().log() - row[classes[image]]
            for row, image in zip(logits, side.labels[level].tolist())
        ]
        want = sum(nll) / len(nll) * (1 / 2, 1 / 4, 1 / 8, 1 / 8)[level]
        torch.testing.assert_close(losses[f'loss_level{level}'], want)


def test_bad_labels_are_explained():
    with pytest.raises(ValueError, match='num_classes=3'):
        classifier().loss(views(number=4), samples([0, 3, 1]))
    with pytest.raises(ValueError, match='has the class -1'):
        classifier().loss(views(number=4), samples([0, -1, 1]))
    with pytest.raises(ValueError, match='no class'):
        classifier().loss(views(number=4), [DataSample()] * 3)
    with pytest.raises(ValueError, match='head.weights'):
        classifier(head=CellClassificationHead(3, 4, weights=(1,)))
