"""Cells on their own."""

import pytest
import torch
import torch.nn.functional as F

from dense_ssl.models import RegionHead
from tests.models.tiny_mcl import randomise


def head(**options):
    torch.manual_seed(0)
    return randomise(
        RegionHead(3, 5, num_convs=2, hidden_channels=6, out_channels=4, **options)
    ).eval()


def test_nothing_leaks_between_cells():
    model = head()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    other = x.clone()
    other[1, :, 4:, :4] += 1  # cell 2 of the second map: row 4 + 2
    before, after = model(x, 2), model(other, 2)
    changed = (before != after).any(1)
    assert changed.tolist() == [False] * 6 + [True] + [False]

    x.requires_grad_()
    model(x, 2)[6].sum().backward()
    assert x.grad[1, :, 4:, :4].any()
    x.grad[1, :, 4:, :4] = 0
    assert not x.grad.any()


def test_reference():
    model = head()
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    rows = []
    for n in range(2):
        for i in range(2):
            for j in range(2):
                cell = x[n : n + 1, :, 3 * i : 3 * i + 3, 3 * j : 3 * j + 3]
                for conv in model.convs:
                    cell = F.conv2d(F.pad(cell, [1] * 4), conv.conv.weight)
                    cell = conv.bn(cell).clamp(min=0)
                mlp = model.mlp
                z = mlp.bn0(mlp.fc0(cell.sum(dim=(2, 3)) / 9)).clamp(min=0)
                rows.append(mlp.bn1(mlp.fc1(z)))
    torch.testing.assert_close(model(x, 2), torch.cat(rows))


def test_last_norm_has_no_parameters():
    assert not [n for n, _ in head().mlp.bn1.named_parameters()]


def test_convs_are_those_of_the_box_head():
    heads = pytest.importorskip('mmdet.models')
    box_head = heads.Shared4Conv1FCBBoxHead(norm_cfg=dict(type='BN'), num_classes=2)
    box_head.shared_convs.load_state_dict(RegionHead().convs.state_dict(), strict=True)
