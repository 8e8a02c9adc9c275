import math
import runpy
import sys
from pathlib import Path

import mmcv
import numpy as np
import pytest
import torch

from dense_ssl.evaluation.knn import knn_accuracy

ROOT = Path(__file__).parents[2]


def plain(train, train_labels, test, test_labels, k, temperature):
    right = 0
    for row, label in zip(test.tolist(), test_labels.tolist()):

        def cosine(other, row=row):
            dot = sum(a * b for a, b in zip(row, other))
            return dot / math.hypot(*row) / math.hypot(*other)

        near = sorted(
            ((cosine(o), name) for o, name in zip(train.tolist(), train_labels.tolist())),
            reverse=True,
        )[:k]
        votes = {}
        for c, name in near:
            votes[name] = votes.get(name, 0) + math.exp(c / temperature)
        right += max(votes, key=votes.get) == label
    return 100 * right / len(test)


@pytest.mark.parametrize('temperature', [0.07, 1.0])
def test_against_a_plain_vote(temperature):
    torch.manual_seed(0)
    train, test = torch.randn(60, 5), torch.randn(33, 5)
    labels = [(x[:, :4] + torch.randn(len(x), 4)).argmax(1) for x in (train, test)]
    found = knn_accuracy(train, labels[0], test, labels[1], (1, 5, 20), temperature, chunk=10)
    for k, accuracy in found.items():
        assert accuracy == pytest.approx(plain(train, labels[0], test, labels[1], k, temperature))
    if temperature == 1:  # sharper votes follow the nearest neighbour
        assert len(set(found.values())) > 1


def test_more_neighbours_than_images_and_none():
    one = torch.eye(3)
    label = torch.arange(3)
    assert knn_accuracy(one, label, one, label, (200,)) == {200: 100}
    with pytest.raises(ValueError, match='0 training'):
        knn_accuracy(one[:0], label[:0], one, label)


def test_the_tool(tmp_path, monkeypatch, capsys):
    rng = np.random.RandomState(0)
    for split in ('train', 'val'):
        for kind in ('a', 'b'):
            for i in range(3):
                mmcv.imwrite(
                    rng.randint(0, 255, (40, 40, 3), np.uint8),
                    str(tmp_path / f'{split}/{kind}/{i}.png'),
                )
    config = 'configs/benchmarks/mmpretrain/linear_resnet50_8xb32-steplr-100e_in1k.py'
    monkeypatch.setattr(
        sys,
        'argv',
        [
            'knn.py',
            str(ROOT / config),
            '--checkpoint',
            'random',
            '--small',
            '16',
            '--workers',
            '0',
            '--image-folder',
            str(tmp_path),
            '-k',
            '1',
            '3',
        ],
    )
    runpy.run_path(str(ROOT / 'tools/benchmarks/mmpretrain/knn.py'), run_name='__main__')
    said = capsys.readouterr().out
    assert '1-NN top-1' in said and '3-NN top-1' in said
