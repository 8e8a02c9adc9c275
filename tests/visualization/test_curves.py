"""Curves of what a run logged."""

import numpy as np
import pytest
import torch

from dense_ssl.transfer import TransferError
from dense_ssl.visualization.curves import draw_curves, logged_scalars, smooth

from ..engine.runs import config, image_folder, train

PIXPRO = 'pixpro/pixpro_resnet50_8xb128-coslr-100e_in1k.py'


def test_every_iteration_of_a_run(tmp_path):
    images = image_folder(tmp_path / 'images', 9)
    _, record = train(config(PIXPRO, images, tmp_path / 'run', epochs=2))
    scalars = logged_scalars(tmp_path / 'run' / 'epoch_2.pth')
    assert scalars['loss'] == pytest.approx(record.losses)
    assert {'positive_pairs', 'no_overlap', 'positive_cosine', 'momentum'} <= set(scalars)
    figure = draw_curves({'run': scalars}, ['loss', 'momentum'], window=2)
    left, right = figure.axes
    (line,) = left.lines
    pairs = [np.mean(record.losses[i : i + 2]) for i in range(3)]
    assert line.get_ydata() == pytest.approx(pairs)
    assert line.get_xdata() == pytest.approx([1.5, 2.5, 3.5])
    assert right.get_title() == 'momentum'
    with pytest.raises(ValueError, match='speed: not logged.*momentum'):
        draw_curves({'run': scalars}, ['speed'])


def test_weights_alone_hold_no_log(tmp_path):
    torch.save(dict(state_dict={}), tmp_path / 'weights.pth')
    with pytest.raises(TransferError, match='weights.pth holds no log'):
        logged_scalars(tmp_path / 'weights.pth')


def test_fewer_values_than_the_window():
    assert smooth(np.array([1.0, 3.0]), 10) == pytest.approx([2.0])
