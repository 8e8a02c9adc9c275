"""Every key or nothing, and a diff that says why."""

import pytest
import torch

from dense_ssl.transfer import (
    Part,
    TransferError,
    load_part,
    load_parts,
    match_parts,
    parse_parts,
    plan_parts,
)

from .small_models import Downstream, distinct, prefixed, resnet, snapshot, unchanged

BACKBONE = Part('backbone.', 'backbone.', 'backbone')


def refused(model, state_dict, parts=(BACKBONE,)) -> str:
    """The message of a transfer that must fail and write nothing."""
    before = snapshot(model)
    with pytest.raises(TransferError) as caught:
        load_parts(model, state_dict, parts)
    assert unchanged(model, before)
    return str(caught.value)


def test_every_tensor_of_the_part_is_written_and_no_other():
    model = Downstream(resnet())
    weights = distinct(model.backbone)
    head = model.decode_head.weight.clone()

    report = load_part(model, prefixed('backbone.', weights), BACKBONE)

    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, weights[key]), key
    assert torch.equal(model.decode_head.weight, head)
    assert report.parts[0].tensors == len(weights)
    assert report.parts[0].elements == sum(value.numel() for value in weights.values())
    assert report.not_filled == {'decode_head': 10}
    assert 'backbone.*' in str(report) and 'decode_head (10)' in str(report)


def test_checking_alone_writes_nothing():
    model = Downstream(resnet())
    before = snapshot(model)
    match_parts(model, prefixed('backbone.', distinct(model.backbone)), [BACKBONE])
    assert unchanged(model, before)


@pytest.mark.parametrize('key', ['conv1.weight', 'layer4.1.bn2.running_var'])
def test_one_missing_key_is_refused(key):
    model = Downstream(resnet())
    weights = prefixed('backbone.', distinct(model.backbone))
    del weights[f'backbone.{key}']
    message = refused(model, weights)
    assert key in message and 'missing in the file (1)' in message


def test_half_a_checkpoint_is_refused():
    model = Downstream(resnet())
    weights = prefixed('backbone.', distinct(model.backbone))
    message = refused(model, dict(list(weights.items())[:60]))
    assert '(60 of 120 keys match)' in message


def test_batch_counters_alone_may_be_absent():
    model = Downstream(resnet())
    weights = {
        key: value
        for key, value in prefixed('backbone.', distinct(model.backbone)).items()
        if 'num_batches_tracked' not in key
    }
    report = load_part(model, weights, BACKBONE)
    assert 'num_batches_tracked is not in the file' in str(report)


def test_wrong_shape_names_both_shapes():
    model = Downstream(resnet())
    weights = prefixed('backbone.', distinct(model.backbone))
    weights['backbone.conv1.weight'] = torch.zeros(64, 1, 7, 7)
    message = refused(model, weights)
    assert ('conv1.weight: (64, 1, 7, 7) in the file, (64, 3, 7, 7) in the model') in message


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_diverged_weights_are_refused(value):
    model = Downstream(resnet())
    weights = prefixed('backbone.', distinct(model.backbone))
    weights['backbone.layer2.0.conv1.weight'][3, 2, 1, 0] = value
    assert 'diverged' in refused(model, weights)


@pytest.mark.parametrize('source,target', [(18, 50), (50, 18), (34, 18)])
def test_another_depth_is_named(source, target):
    message = refused(
        Downstream(resnet(target)), prefixed('backbone.', resnet(source).state_dict())
    )
    assert f'ResNet-{source}, the model is a ResNet-{target}' in message


def test_a_deeper_checkpoint_does_not_pass_as_a_superset():
    # All keys of a ResNet-50 are in a ResNet-101, with the right shapes.
    message = refused(Downstream(resnet(50)), prefixed('backbone.', resnet(101).state_dict()))
    assert 'layer3.6.conv1.weight' in message
    assert 'ResNet-101' in message


def test_a_classifier_beside_the_backbone_is_noted():
    model = Downstream(resnet())
    weights = prefixed('backbone.', distinct(model.backbone))
    weights['backbone.fc.weight'] = torch.zeros(1000, 512)
    assert 'fc.weight (a classifier) is not used' in str(load_part(model, weights, BACKBONE))


def test_another_prefix_is_found_and_named():
    model = Downstream(resnet())
    weights = prefixed('encoder_q.0.', distinct(model.backbone))
    message = refused(model, weights)
    assert '"encoder_q.0." (120 of 120)' in message
    plan = plan_parts(model, weights, backbone_prefix='encoder_q.0.')
    load_parts(model, weights, plan)


def test_bare_names_need_to_be_asked_for():
    model = Downstream(resnet())
    weights = distinct(model.backbone)
    assert '"" (120 of 120)' in refused(model, weights)
    load_parts(model, weights, plan_parts(model, weights, backbone_prefix=''))


def test_a_file_of_something_else_says_what_it_has():
    message = refused(Downstream(resnet()), {'generator.net.weight': torch.zeros(2)})
    assert 'generator.net.* (1)' in message


def test_one_bad_part_keeps_the_good_part_unwritten():
    model = Downstream(resnet())
    weights = prefixed('backbone.', distinct(model.backbone))
    head = Part('head.', 'decode_head.', 'head')
    message = refused(model, {**weights, 'head.weight': torch.zeros(1)}, [BACKBONE, head])
    assert message.startswith('head:')


def test_the_momentum_copy_is_taken_on_request():
    model = Downstream(resnet())
    online, momentum = distinct(model.backbone, 1), distinct(model.backbone, 2)
    weights = {**prefixed('backbone.', online), **prefixed('momentum_encoder.backbone.', momentum)}
    load_parts(model, weights, plan_parts(model, weights, network='momentum'))
    assert torch.equal(model.backbone.conv1.weight, momentum['conv1.weight'])
    with pytest.raises(TransferError, match='no "momentum_encoder'):
        plan_parts(model, prefixed('backbone.', online), network='momentum')


@pytest.mark.parametrize(
    'options', [dict(parts=('backbone', 'decoder')), dict(parts=('neck',)), dict(network='teacher')]
)
def test_unknown_words_are_refused(options):
    with pytest.raises(TransferError):
        plan_parts(Downstream(resnet()), {}, **options)


def test_a_c4_detector_gets_layer4_in_its_shared_head():

    class C4(torch.nn.Module):
        def __init__(self):
            super().__init__()
            full = resnet()
            self.backbone = resnet(
                num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,)
            )
            self.roi_head = torch.nn.Module()
            self.roi_head.shared_head = torch.nn.Module()
            self.roi_head.shared_head.layer4 = full.layer4

    model = C4()
    weights = distinct(resnet())
    source = prefixed('backbone.', weights)
    load_parts(model, source, plan_parts(model, source))
    layer4 = model.roi_head.shared_head.layer4
    assert torch.equal(layer4[0].conv1.weight, weights['layer4.0.conv1.weight'])
    del model.roi_head
    message = refused(model, source, plan_parts(model, source))
    assert 'C4 and FPN' in message


def test_the_deep_stem_of_mmseg_is_refused():
    pytest.importorskip('mmseg')
    from mmseg.models.backbones import ResNetV1c

    source = prefixed('backbone.', resnet(50).state_dict())
    message = refused(Downstream(ResNetV1c(depth=50)), source)
    assert 'deep stem (ResNetV1c/V1d)' in message
    assert "model.backbone.type='ResNet'" in message
    assert 'stem.0.weight' in message
    assert '(312 of 330 keys match)' in message


@pytest.mark.parametrize(
    'text,parts',
    [
        ('auto', 'auto'),
        ('backbone', ['backbone']),
        (' backbone, neck,', ['backbone', 'neck']),
    ],
)
def test_parts_are_read_from_one_text(text, parts):
    assert parse_parts(text) == parts
    model = Downstream(resnet())
    weights = prefixed('backbone.', distinct(model.backbone))
    if 'neck' not in text:
        assert plan_parts(model, weights, text) == plan_parts(model, weights, parts)


@pytest.mark.parametrize('text', ['', ' ', ','])
def test_no_part_at_all_is_refused(text):
    with pytest.raises(TransferError, match='auto'):
        parse_parts(text)
