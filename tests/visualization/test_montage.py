"""The picture shows what the networks get."""

import pytest
import torch
from mmengine.config import Config

import dense_ssl  # noqa: F401
from dense_ssl.visualization.montage import montage_picture
from tests.engine.runs import CONFIGS, image_folder

NAMES = ('mcl_resnet50_8xb128-coslr-100e_in1k', 'mcl-direct_resnet50_32xb128-coslr-100e_in1k')


def config(name):
    cfg = Config.fromfile(CONFIGS / 'mcl' / f'{name}.py')
    cfg.custom_imports = None
    return cfg


@pytest.mark.parametrize('name', NAMES)
def test_picture(name, tmp_path):
    folder = image_folder(tmp_path, 6, size=224)
    picture = montage_picture(config(name), str(folder), 4)
    assert picture.dtype == torch.uint8
    assert picture.shape == (3, 2 * 230 + 6, 4 * 230 + 6)
    assert (picture[:, :6] == 255).all()
    assert picture[:, 6:230, 6:230].float().std() > 10


def test_bad_input_is_explained(tmp_path):
    folder = image_folder(tmp_path, 2, size=224)
    with pytest.raises(ValueError, match='--batch-size'):
        montage_picture(config(NAMES[0]), str(folder), 4)
    other = Config.fromfile(CONFIGS / 'densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py')
    with pytest.raises(ValueError, match='configs/mcl'):
        montage_picture(other, str(folder), 2)
