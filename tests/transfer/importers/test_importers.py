"""Each code base's files are recognised and land under our names."""

import argparse
import os
import runpy
import sys
from pathlib import Path

import pytest
import torch

from dense_ssl.transfer import TransferError, read_checkpoint
from dense_ssl.transfer.importers import (
    LAYOUTS,
    import_file,
    import_weights,
    recognise,
    save_import,
)

from .. import foreign
from ..small_models import distinct, prefixed, resnet

ROOT = Path(__file__).parents[3]
FILES = [
    ('pixpro', foreign.pixpro),
    ('pixpro', lambda: foreign.pixpro(2)),
    ('densecl', foreign.densecl),
    ('torchvision', foreign.densecl_extracted),
    ('torchvision', foreign.torchvision),
    ('timm', foreign.timm_deep),
    ('mmpretrain', foreign.mmpretrain_densecl),
    ('mmpretrain', foreign.mmpretrain_byol),
    ('mmpretrain', foreign.mmpretrain_classifier),
    ('mcl', foreign.mcl),
    ('moco', foreign.moco),
    ('moco', lambda: foreign.moco(1)),
    ('soco', foreign.soco),
    ('slotcon', foreign.slotcon),
    ('lightly', foreign.lightly),
    ('lightly', lambda: foreign.lightly(sequential=False)),
    ('lightly-student', foreign.lightly_student),
    ('solo-learn', foreign.solo_learn),
    ('solo-learn', lambda: foreign.solo_learn('encoder')),
    ('vissl', foreign.vissl),
    ('dino', foreign.dino),
]


def same(found: dict, wanted: dict) -> None:
    assert set(found) == set(wanted)
    for key, value in wanted.items():
        assert torch.equal(found[key], value), key


@pytest.mark.parametrize('name,make', FILES)
def test_every_key_lands_in_its_place(tmp_path, name, make):
    weights, wanted = make()
    # What these code bases save beside the weights.
    torch.save(
        dict(
            opt=argparse.Namespace(lr=1.0), state_dict=weights, optimizer=dict(state={}), epoch=100
        ),
        tmp_path / 'x.pth',
    )
    imported = import_file(str(tmp_path / 'x.pth'))
    assert imported.layout == name
    assert imported.backbone.startswith('ResNet-18')
    same(imported.state_dict, wanted)


@pytest.mark.parametrize('name,make', FILES)
def test_an_import_is_ours_and_imports_to_itself(tmp_path, name, make):
    source, out = tmp_path / 'x.pth', tmp_path / 'ours.pth'
    weights, wanted = make()
    torch.save(weights, source)
    save_import(import_file(str(source)), str(source), str(out))
    again = import_file(str(out))
    assert again.layout in ('dense_ssl', 'backbone')
    same(again.state_dict, wanted)
    meta = read_checkpoint(out).meta['imported']
    assert meta['layout'] == name and meta['source'] == 'x.pth'
    assert len(meta['sha256']) == 64


@pytest.mark.parametrize('name', ['vissl', 'dino'])
def test_files_with_a_dict_for_each_network(tmp_path, name):
    weights, wanted = getattr(foreign, name)()
    torch.save(foreign.as_file(weights, name), tmp_path / 'x.pth')
    imported = import_file(str(tmp_path / 'x.pth'))
    assert imported.layout == name
    same(imported.state_dict, wanted)


def test_our_own_algorithms_take_an_import_strictly():
    from tests.models.tiny import densecl

    model = densecl(
        backbone=dict(type='mmpretrain.ResNet', depth=18),
        projector=dict(type='DenseProjector', in_channels=512, hidden_channels=6, out_channels=4),
        queue_len=10,
    )
    ours = distinct(model)
    heads = {
        'projector.global_mlp.': 'encoder_q.1.mlp.',
        'projector.dense_mlp.': 'encoder_q.1.mlp2.',
        'momentum_encoder.projector.global_mlp.': 'encoder_k.1.mlp.',
        'momentum_encoder.projector.dense_mlp.': 'encoder_k.1.mlp2.',
        'momentum_encoder.backbone.': 'encoder_k.0.',
        'backbone.': 'encoder_q.0.',
    }
    released = {
        'queue': ours['queue.features'].t(),
        'queue_ptr': torch.tensor([7]),
        'queue2': ours['dense_queue.features'].t(),
        'queue2_ptr': torch.tensor([7]),
    }
    for key, value in ours.items():
        for new, old in heads.items():
            if key.startswith(new):
                released[old + key[len(new) :]] = value
                break
    imported = import_weights(released).state_dict
    missing, unexpected = model.load_state_dict(imported, strict=False)
    assert missing == ['momentum_encoder.updates'] and not unexpected
    assert model.queue.pointer == 7 and model.queue.filled == 10
    for key, value in model.state_dict().items():
        if not key.endswith(('written', 'updates')):
            assert torch.equal(value, ours[key]), key


def test_no_two_layouts_recognise_one_file():
    for name, make in FILES:
        keys = [k.replace('module.', '', 1) if k.startswith('module.') else k for k in make()[0]]
        found = [layout.name for layout in LAYOUTS if layout.matches(keys)]
        assert found == [name]


def test_the_momentum_network_can_be_taken():
    weights, _ = foreign.slotcon()
    weights = {k[len('module.') :]: v for k, v in weights.items()}
    imported = import_weights(weights, network='momentum')
    same(imported.state_dict, prefixed('backbone.', foreign.backbone(2)))
    assert 'teacher' in imported.notes[0]
    only = {k: v for k, v in weights.items() if k.startswith('encoder_k.')}
    same(import_weights(only).state_dict, imported.state_dict)
    online = import_weights(weights, network='online').state_dict
    same(online, prefixed('backbone.', foreign.backbone(1)))
    with pytest.raises(TransferError, match='no momentum network'):
        import_weights(foreign.torchvision()[0], network='momentum')


def test_unknown_files_say_what_was_seen():
    weights = prefixed('student.trunk.', foreign.backbone(1))
    with pytest.raises(
        TransferError,
        match=r'no known layout.*student\.trunk'
        r'\.\* \(1\d\d\).*--backbone-prefix',
    ):
        recognise(weights, 'x.pth')


def test_ambiguous_files_are_refused_and_can_be_named():
    weights = prefixed('encoder_q.', foreign.backbone(1))
    weights['encoder_q.fc.0.weight'] = torch.ones(1)
    both = {**weights, **foreign.torchvision()[0]}
    with pytest.raises(TransferError, match=r'ambiguous.*MoCo.*torchvision'):
        import_weights(both)
    # Named, the keys foreign to that layout are still refused.
    with pytest.raises(TransferError, match='do not belong'):
        import_weights(both, layout='moco')
    with pytest.raises(TransferError, match="no layout 'mocco'"):
        import_weights(both, layout='mocco')


@pytest.mark.parametrize(
    'change,words',
    [
        (lambda w: w.pop('layer2.1.bn2.running_var'), r'1 tensors are missing'),
        (lambda w: w.update({'layer1.0.se.weight': torch.ones(1)}), 'foreign'),
        (
            lambda w: w.update({'conv1.weight': torch.ones(32, 3, 7, 7)}),
            'another shape.*instead of',
        ),
        (
            lambda w: [w.pop(k) for k in list(w) if k.startswith('layer3.1')],
            'no ResNet of a known depth',
        ),
    ],
)
def test_incomplete_backbones_are_refused(change, words):
    weights = foreign.backbone(1)
    change(weights)
    with pytest.raises(TransferError, match=words):
        import_weights(weights)


def test_old_files_without_counters_are_whole():
    weights = {
        k: v for k, v in foreign.backbone(1).items() if not k.endswith('num_batches_tracked')
    }
    assert import_weights(weights).backbone == 'ResNet-18'


def test_an_alias_that_differs_is_refused():
    weights, _ = foreign.densecl()
    weights['backbone.conv1.weight'] = torch.zeros(64, 3, 7, 7)
    with pytest.raises(TransferError, match='contradicts itself'):
        import_weights(weights)


class RunsCode:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_code_runs_only_when_trusted(tmp_path):
    mark, path = tmp_path / 'ran', tmp_path / 'x.pth'
    torch.save(dict(state_dict=foreign.backbone(1), more=RunsCode(mark)), path)
    with pytest.raises(TransferError, match='--trust'):
        import_file(str(path))
    assert not mark.exists()
    assert import_file(str(path), trust=True).layout == 'torchvision'
    assert mark.exists()


def test_the_tool(tmp_path, monkeypatch, capsys):
    torch.save(foreign.torchvision()[0], tmp_path / 'x.pth')
    tool = ROOT / 'tools' / 'convert' / 'import_checkpoint.py'

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['x', *map(str, arguments)])
        runpy.run_path(str(tool), run_name='__main__')

    run(tmp_path / 'x.pth', tmp_path / 'ours.pth')
    said = capsys.readouterr().out
    assert 'torchvision, ResNet-18' in said and 'fc.* (2)' in said
    assert (tmp_path / 'ours.pth').is_file()
    with pytest.raises(SystemExit) as stop:
        run(tmp_path / 'x.pth', tmp_path / 'x.pth')
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith('error:')


def test_resnet50_files_are_known_too():
    weights = distinct(resnet(50))
    assert import_weights(weights).backbone == 'ResNet-50'
