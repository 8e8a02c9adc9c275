"""Exports load where they are meant to, and come back unchanged."""

import pickle
import re

import pytest
import torch

from dense_ssl.transfer import Checkpoint, TransferError, read_checkpoint
from dense_ssl.transfer.detectron2_file import (
    from_detectron2,
    read_detectron2,
    to_detectron2,
    write_detectron2,
)
from dense_ssl.transfer.exporters import export_weights, save_export
from dense_ssl.transfer.importers import import_file

from .. import foreign
from ..small_models import prefixed, resnet


def ours(**extra) -> Checkpoint:
    """Backbone with sane running variances, FPN, region head, and twins."""
    weights = {}
    for root, seed in (('', 1), ('momentum_encoder.', 2)):
        backbone = foreign.backbone(seed)
        for key in backbone:
            if key.endswith('running_var'):
                backbone[key] = backbone[key].abs() + 1
            if key.endswith('num_batches_tracked'):
                backbone[key] = torch.tensor(7)
        weights.update(prefixed(f'{root}backbone.', backbone))
        weights.update(prefixed(f'{root}neck.', foreign.fpn(10 * seed)))
        weights.update(prefixed(f'{root}region_head.convs.', foreign.convs('0123', 30 * seed)))
        weights.update(prefixed(f'{root}projector.mlps.0.', foreign.mlp('ln-l', 50 * seed)))
    weights.update(extra)
    return Checkpoint('run/epoch_3.pth', weights, dict(epoch=3, seed=0))


def saved(tmp_path, name, *args, **kwargs):
    path = str(tmp_path / name)
    export = export_weights(ours(), *args, **kwargs)
    save_export(export, path)
    return path, export


def torchvision_features(model, x):
    for name in ('conv1', 'bn1', 'relu', 'maxpool', 'layer1', 'layer2', 'layer3', 'layer4'):
        x = getattr(model, name)(x)
    return x


@pytest.mark.parametrize('network', ['online', 'momentum'])
def test_torchvision_loads_it_and_sees_the_same(tmp_path, network):
    import torchvision

    path, _ = saved(tmp_path, 'x.pth', 'torchvision', network)
    content = torch.load(path, weights_only=True)
    model = torchvision.models.resnet18()
    model.fc = torch.nn.Identity()
    model.load_state_dict(content['state_dict'], strict=True)
    mine = resnet()
    mine.eval()  # returns nothing in mmpretrain
    root = '' if network == 'online' else 'momentum_encoder.'
    mine.load_state_dict(
        {
            k[len(root + 'backbone.') :]: v
            for k, v in ours().state_dict.items()
            if k.startswith(f'{root}backbone.')
        }
    )
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(torchvision_features(model.eval(), x), mine(x)[-1])
    assert content['meta']['network'] == network
    assert content['meta']['source'] == 'epoch_3.pth'
    assert content['meta']['pretraining'] == dict(epoch=3, seed=0)


@pytest.mark.parametrize(
    'depth,name,options',
    [(18, 'resnet18', {}), (50, 'resnet50d', dict(deep_stem=True, avg_down=True))],
)
def test_timm_loads_it_and_sees_the_same(tmp_path, depth, name, options):
    timm = pytest.importorskip('timm')
    mine = resnet(depth, **options)
    mine.eval()
    path = str(tmp_path / 'x.pth')
    save_export(
        export_weights(Checkpoint('x.pth', prefixed('backbone.', mine.state_dict())), 'timm'), path
    )
    model = timm.create_model(name, num_classes=0, pretrained=False)
    model.load_state_dict(torch.load(path, weights_only=True)['state_dict'], strict=True)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(model.eval().forward_features(x), mine(x)[-1], atol=1e-5)
    back = import_file(path).state_dict
    assert list(back) == [f'backbone.{key}' for key in mine.state_dict()]


def d2_names() -> set:
    """detectron2's names of a ResNet-50, an FPN and a 4conv box head.

    Written from detectron2's modules (BottleneckBlock: conv1-3 with norms,
    shortcut in the first block of a stage; BasicStem.conv1; FPN's
    fpn_lateral2-5 and fpn_output2-5; FastRCNNConvFCHead's conv1-4), where
    every convolution has ``weight`` and ``norm.*`` and no bias.
    """
    convs = ['stem.conv1']
    for stage, blocks in zip((2, 3, 4, 5), (3, 4, 6, 3)):
        for block in range(blocks):
            convs += [f'res{stage}.{block}.conv{i}' for i in (1, 2, 3)]
        convs.append(f'res{stage}.0.shortcut')
    for level in (2, 3, 4, 5):
        convs += [f'fpn_lateral{level}', f'fpn_output{level}']
    convs += [f'box_head.conv{i}' for i in (1, 2, 3, 4)]
    norms = ('weight', 'bias', 'running_mean', 'running_var')
    return {f'{conv}.weight' for conv in convs} | {
        f'{conv}.norm.{name}' for conv in convs for name in norms
    }


def test_detectron2_names():
    keys = [f'backbone.{k}' for k in resnet(50).state_dict()]
    keys += [f'neck.{k}' for k in foreign.fpn(1)]
    keys += [f'region_head.convs.{k}' for k in foreign.convs('0123', 1)]
    keys = [k for k in keys if not k.endswith('num_batches_tracked')]
    names = [to_detectron2(key) for key in keys]
    assert set(names) == d2_names() and len(set(names)) == len(names)
    assert [from_detectron2(name) for name in names] == keys
    pairs = {
        'backbone.bn1.bias': 'stem.conv1.norm.bias',
        'backbone.layer1.0.downsample.0.weight': 'res2.0.shortcut.weight',
        'backbone.layer4.2.bn3.running_var': 'res5.2.conv3.norm.running_var',
        'neck.lateral_convs.0.conv.weight': 'fpn_lateral2.weight',
        'neck.fpn_convs.3.bn.bias': 'fpn_output5.norm.bias',
        'region_head.convs.0.conv.weight': 'box_head.conv1.weight',
    }
    for key, name in pairs.items():
        assert to_detectron2(key) == name
    with pytest.raises(TransferError, match='no place'):
        to_detectron2('projector.0.weight')


def test_an_fpn_that_begins_with_p3(tmp_path):
    fpn = {k: v for k, v in foreign.fpn(1).items() if not k.endswith('num_batches_tracked')}
    weights = {f'neck.{k}': v for k, v in fpn.items() if '_convs.3.' not in k}
    path = str(tmp_path / 'x.pkl')
    write_detectron2(weights, {}, path)
    with open(path, 'rb') as file:
        levels = {k.split('.')[0] for k in pickle.load(file)['model']}
    assert levels == {f'fpn_{kind}{level}' for kind in ('lateral', 'output') for level in (3, 4, 5)}
    back = read_detectron2(path)[0]
    assert set(back) == set(weights)
    assert all(torch.equal(back[k], v) for k, v in weights.items())
    # P6 of pixpro-fpn-head: three laterals, four outputs
    extra = {f'neck.{k}': v for k, v in fpn.items() if k.startswith('fpn_convs.3.')}
    with pytest.raises(TransferError, match='makes P6.*--parts backbone'):
        write_detectron2({**weights, **extra}, {}, path)


def test_names_of_a_detectron2_model_are_read_too():
    assert from_detectron2('backbone.bottom_up.res3.1.conv2.norm.bias') == (
        'backbone.layer2.1.bn2.bias'
    )
    assert from_detectron2('backbone.fpn_output3.weight') == ('neck.fpn_convs.1.conv.weight')
    assert from_detectron2('roi_heads.box_head.conv2.norm.weight') == (
        'region_head.convs.1.bn.weight'
    )


def test_the_detectron2_file(tmp_path):
    import pickle

    import numpy as np

    path, _ = saved(tmp_path, 'x.pkl', 'detectron2')
    data = (tmp_path / 'x.pkl').read_bytes()
    assert b'numpy._core' not in data  # numpy 1 reads it
    content = pickle.loads(data)
    assert content['matching_heuristics'] is True
    assert content['__author__'] == 'dense_ssl'
    assert content['meta']['network'] == 'online'
    array = content['model']['res3.0.conv1.norm.running_var']
    assert isinstance(array, np.ndarray)
    assert np.array_equal(array, ours().state_dict['backbone.layer2.0.bn1.running_var'])
    assert not [k for k in content['model'] if 'num_batches' in k]


@pytest.mark.parametrize(
    'format,name',
    [
        ('mmdet', 'x.pth'),
        ('mmseg', 'x.pth'),
        ('torchvision', 'x.pth'),
        ('timm', 'x.pth'),
        ('detectron2', 'x.pkl'),
        ('safetensors', 'x.safetensors'),
    ],
)
def test_export_then_import_is_the_identity(tmp_path, format, name):
    if format == 'safetensors':
        pytest.importorskip('safetensors')
    path, export = saved(tmp_path, name, format)
    back = import_file(path).state_dict
    prefixes = {'backbone': 'backbone.', 'neck': 'neck.', 'head': 'region_head.convs.'}
    wanted = {
        key: value
        for key, value in ours().state_dict.items()
        if key.startswith(tuple(prefixes[part] for part in export.meta['parts']))
        and not (format == 'detectron2' and key.endswith('num_batches_tracked'))
    }
    assert set(back) == set(wanted)
    for key, value in wanted.items():
        assert torch.equal(back[key], value), key
    # And once more: import, export, import.
    again = export_weights(Checkpoint('y', back), format)
    save_export(again, str(tmp_path / f'again-{name}'))
    twice = import_file(str(tmp_path / f'again-{name}')).state_dict
    for key, value in back.items():
        assert torch.equal(twice[key], value), key


def test_mmdet_takes_its_export(tmp_path):
    pytest.importorskip('mmdet')
    path, export = saved(tmp_path, 'x.pth', 'mmdet')
    assert export.meta['parts'] == ['backbone', 'neck', 'head']
    weights = read_checkpoint(path).state_dict
    from mmdet.models.roi_heads import Shared4Conv1FCBBoxHead

    head = Shared4Conv1FCBBoxHead(
        in_channels=4,
        conv_out_channels=4,
        fc_out_channels=8,
        norm_cfg=dict(type='BN'),
        num_classes=2,
    )
    prefix = 'roi_head.bbox_head.'
    part = {k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)}
    missing, unexpected = head.load_state_dict(part, strict=False)
    assert not unexpected and len(part) == 4 * 5
    assert not [k for k in missing if 'shared_convs' in k and not k.endswith('num_batches_tracked')]


@pytest.mark.parametrize(
    'arguments,words',
    [
        (('keras',), 'no format'),
        (('mmdet', 'teacher'), "must be 'online'"),
        (('mmdet', 'online', ['tail']), 'no part'),
        (('mmseg', 'online', ['neck']), 'no place for the neck'),
    ],
)
def test_bad_wishes_are_named(arguments, words):
    with pytest.raises(TransferError, match=words):
        export_weights(ours(), *arguments)


def test_what_is_not_there_is_named():
    backbone = Checkpoint('x.pth', prefixed('backbone.', foreign.backbone(1)))
    with pytest.raises(TransferError, match=r'x.pth has no neck \(neck'):
        export_weights(backbone, 'mmdet', parts=['backbone', 'neck'])
    with pytest.raises(TransferError, match='online network only'):
        export_weights(backbone, 'mmdet', 'momentum')
    with pytest.raises(TransferError, match='import_checkpoint'):
        export_weights(Checkpoint('x.pth', foreign.backbone(1)), 'mmdet')
    del backbone.state_dict['backbone.bn1.weight']
    with pytest.raises(TransferError, match='1 tensors are missing'):
        export_weights(backbone, 'torchvision')
    deep = Checkpoint('x.pth', prefixed('backbone.', resnet(deep_stem=True).state_dict()))
    with pytest.raises(TransferError, match='deep stem'):
        export_weights(deep, 'detectron2')


def test_counters_that_old_files_lack_are_added():
    import torchvision

    weights = {
        k: v for k, v in foreign.backbone(1).items() if not k.endswith('num_batches_tracked')
    }
    export = export_weights(Checkpoint('x.pth', prefixed('backbone.', weights)), 'torchvision')
    model = torchvision.models.resnet18()
    model.fc = torch.nn.Identity()
    model.load_state_dict(export.weights, strict=True)
    assert not [k for k in export.weights if re.match('fc', k)]
