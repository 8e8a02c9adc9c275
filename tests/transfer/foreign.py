"""Small checkpoints by the key layouts of the released code bases.

Each function returns (weights, what an import must make of each key): every
tensor is unlike all others, so that a swap is seen.
"""

import torch

from .small_models import distinct, prefixed, resnet


def backbone(seed: int) -> dict:
    return distinct(resnet(), seed)


def tensors(names: dict, seed: int) -> dict:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in names.items()}


def mlp(kinds: str, seed: int) -> dict:
    """Weights of layers by number: 'l' linear, 'n' norm, '-' none."""
    names = {}
    for index, kind in enumerate(kinds):
        if kind == 'l':
            names[f'{index}.weight'], names[f'{index}.bias'] = (3, 4), (3,)
        elif kind == 'n':
            for name in ('weight', 'bias', 'running_mean', 'running_var'):
                names[f'{index}.{name}'] = (3,)
    return tensors(names, seed)


def expect(pairs) -> tuple:
    """From (old prefix, new prefix or None, weights) triples."""
    weights, wanted = {}, {}
    for old, new, part in pairs:
        weights.update(prefixed(old, part))
        if new is not None:
            wanted.update(prefixed(new, part))
    return weights, wanted


def pixpro(layers: int = 1) -> tuple:
    pairs = [
        ('encoder.', 'backbone.', backbone(1)),
        ('encoder_k.', 'momentum_encoder.backbone.', backbone(2)),
    ]
    names = (
        ('projector', 'projector'),
        ('projector_k', 'momentum_encoder.projector'),
        ('projector_instance', 'instance_projector'),
        ('projector_instance_k', 'momentum_encoder.instance_projector'),
        ('predictor', 'instance_predictor'),
    )
    for seed, (old, new) in enumerate(names):
        layer = mlp('ln-l', 10 + seed)
        for index, name in ((0, 'linear1'), (1, 'bn1'), (3, 'linear2')):
            pairs.append(
                (
                    f'{old}.{name}.',
                    f'{new}.mlps.0.{index}.',
                    {key[2:]: value for key, value in layer.items() if key.startswith(f'{index}.')},
                )
            )
    transform = mlp('ln-l', 30)
    for index, name in ((0, 'linear1'), (1, 'bn1'), (3, 'linear2')):
        part = {key[2:]: value for key, value in transform.items() if key.startswith(f'{index}.')}
        if layers == 2:
            pairs.append((f'value_transform.{name}.', f'propagation.value.{index}.', part))
        elif index == 0:
            pairs.append(('value_transform.', 'propagation.value.', part))
    weights, wanted = expect(pairs)
    return prefixed('module.', weights), wanted


def densecl() -> tuple:
    query = backbone(1)
    weights, wanted = expect(
        [
            ('encoder_q.0.', 'backbone.', query),
            ('backbone.', 'backbone.', query),  # the same module, named twice
            ('encoder_q.1.mlp.', 'projector.global_mlp.', mlp('l-l', 3)),
            ('encoder_q.1.mlp2.', 'projector.dense_mlp.', mlp('l-l', 4)),
            ('encoder_k.0.', 'momentum_encoder.backbone.', backbone(2)),
            ('encoder_k.1.mlp.', 'momentum_encoder.projector.global_mlp.', mlp('l-l', 5)),
            ('encoder_k.1.mlp2.', 'momentum_encoder.projector.dense_mlp.', mlp('l-l', 6)),
        ]
    )
    return add_queues(weights, wanted, dense=True)


def add_queues(weights: dict, wanted: dict, dense: bool) -> tuple:
    for seed, (old, new) in enumerate((('queue', 'queue'), ('queue2', 'dense_queue'))):
        if old == 'queue2' and not dense:
            break
        keys = tensors({'q': (4, 10)}, 40 + seed)['q']  # (D, K)
        weights.update({old: keys, f'{old}_ptr': torch.tensor([3])})
        wanted[f'{new}.features'] = keys.t()
        wanted[f'{new}.written'] = torch.tensor(13)
    return weights, wanted


def densecl_extracted() -> tuple:
    return expect([('', 'backbone.', backbone(1))])


def torchvision() -> tuple:
    classifier = tensors({'fc.weight': (5, 512), 'fc.bias': (5,)}, 9)
    return expect([('', 'backbone.', backbone(1)), ('', None, classifier)])


def timm_deep() -> tuple:
    """timm's resnet18d: deep stem, pooled shortcuts."""
    wanted = prefixed('backbone.', distinct(resnet(deep_stem=True, avg_down=True), 1))
    stem = {
        '0.conv': 'conv1.0',
        '0.bn': 'conv1.1',
        '1.conv': 'conv1.3',
        '1.bn': 'conv1.4',
        '2.conv': 'conv1.6',
        '2.bn': 'bn1',
    }
    weights = {}
    for key, value in wanted.items():
        key = key[len('backbone.') :]
        for ours, timm in stem.items():
            key = key.replace(f'stem.{ours}.', f'{timm}.')
        weights[key] = value
    weights.update(tensors({'fc.weight': (5, 512), 'fc.bias': (5,)}, 9))
    return weights, wanted


def mmpretrain_densecl() -> tuple:
    weights, wanted = expect(
        [
            ('backbone.', 'backbone.', backbone(1)),
            ('neck.mlp.', 'projector.global_mlp.', mlp('l-l', 3)),
            ('neck.mlp2.', 'projector.dense_mlp.', mlp('l-l', 4)),
            ('encoder_k.module.0.', 'momentum_encoder.backbone.', backbone(2)),
            ('encoder_k.module.1.mlp.', 'momentum_encoder.projector.global_mlp.', mlp('l-l', 5)),
            ('encoder_k.module.1.mlp2.', 'momentum_encoder.projector.dense_mlp.', mlp('l-l', 6)),
        ]
    )
    weights['encoder_k.steps'] = torch.tensor(7)
    return add_queues(weights, wanted, dense=True)


def mmpretrain_byol() -> tuple:
    head = tensors({'fc0.weight': (4, 4), 'bn0.weight': (4,)}, 8)
    return expect(
        [
            ('backbone.', 'backbone.', backbone(1)),
            ('neck.', None, head),
            ('target_net.module.0.', 'momentum_encoder.backbone.', backbone(2)),
            ('target_net.module.1.', None, head),
            ('head.predictor.', None, head),
        ]
    )


def mmpretrain_classifier() -> tuple:
    fc = tensors({'weight': (5, 512), 'bias': (5,)}, 9)
    return expect([('backbone.', 'backbone.', backbone(1)), ('head.fc.', None, fc)])


def convs(names, seed: int) -> dict:
    out = {}
    for index, name in enumerate(names):
        out.update(prefixed(f'{name}.conv.', tensors({'weight': (4, 4, 3, 3)}, seed + index)))
        out.update(
            prefixed(
                f'{name}.bn.',
                tensors(
                    dict.fromkeys(('weight', 'bias', 'running_mean', 'running_var'), (4,)),
                    seed + 100 + index,
                ),
            )
        )
    return out


def fpn(seed: int) -> dict:
    return convs([f'{kind}_convs.{i}' for kind in ('lateral', 'fpn') for i in range(4)], seed)


def mcl() -> tuple:
    pairs = []
    names = {'0': 'fc0', '1': 'bn0', '3': 'fc1'}
    for old, new, seed in (('encoder_q', '', 1), ('encoder_k', 'momentum_encoder.', 2)):
        pairs += [
            (f'{old}.0.', f'{new}backbone.', backbone(seed)),
            (f'{old}.1.', f'{new}neck.', fpn(10 * seed)),
            (f'{old}.2.cls_convs.', f'{new}region_head.convs.', convs('0123', 30 * seed)),
        ]
        for key, value in mlp('ln-l', 50 + seed).items():
            layer, name = key.split('.')
            pairs.append(
                (f'{old}.2.mlp.{key}', f'{new}region_head.mlp.{names[layer]}.{name}', {'': value})
            )
    for level in range(4):
        for key, value in mlp('ln-l', 60 + level).items():
            layer, name = key.split('.')
            pairs.append(
                (
                    f'head.predictor.{level}.mlp.{key}',
                    f'predictors.{level}.{names[layer]}.{name}',
                    {'': value},
                )
            )
    pairs.append(('backbone.', 'backbone.', backbone(1)))
    return expect(pairs)


def moco(version: int = 2) -> tuple:
    pairs = []
    for old, new, seed in (('encoder_q.', '', 1), ('encoder_k.', 'momentum_encoder.', 2)):
        pairs.append((old, f'{new}backbone.', backbone(seed)))
        pairs.append(
            (f'{old}fc.', f'{new}projector.global_mlp.', mlp('l-l', seed))
            if version == 2
            else (f'{old}fc.', None, tensors({'weight': (4, 512)}, seed))
        )
    weights, wanted = expect(pairs)
    weights, wanted = add_queues(weights, wanted, dense=False)
    return prefixed('module.', weights), wanted


def soco() -> tuple:
    head = convs([f'shared_convs.{i}' for i in range(4)], 30)
    rest = tensors({'shared_fcs.0.weight': (4, 4)}, 31)
    weights, wanted = expect(
        [
            ('encoder.', 'backbone.', backbone(1)),
            ('encoder_k.', 'momentum_encoder.backbone.', backbone(2)),
            ('neck.', 'neck.', fpn(3)),
            ('neck_k.', 'momentum_encoder.neck.', fpn(4)),
            (
                'head.shared_convs.',
                'region_head.convs.',
                {key[len('shared_convs.') :]: value for key, value in head.items()},
            ),
            ('head.', None, rest),
            ('projector.', None, tensors({'linear1.weight': (4, 4)}, 5)),
        ]
    )
    return prefixed('module.', weights), wanted


def slotcon() -> tuple:
    weights, wanted = expect(
        [
            ('encoder_q.', 'backbone.', backbone(1)),
            ('encoder_k.', 'momentum_encoder.backbone.', backbone(2)),
            ('projector_q.', None, tensors({'linear1.weight': (4, 4)}, 3)),
            ('projector_k.', None, tensors({'linear1.weight': (4, 4)}, 4)),
            ('grouping_q.', None, tensors({'slot_embed.weight': (4, 4)}, 5)),
            ('predictor_slot.', None, tensors({'linear1.weight': (4, 4)}, 6)),
            ('', None, tensors({'center': (1, 4)}, 7)),
        ]
    )
    return prefixed('module.', weights), wanted


def lightly(sequential: bool = True) -> tuple:
    """``nn.Sequential(*resnet.children())`` of the examples, or the benchmarks' whole ResNet."""
    momentum = 'backbone_momentum.' if sequential else 'teacher_backbone.'
    pairs = [
        ('projection_head.', None, tensors({'layers.0.weight': (4, 4)}, 3)),
        ('online_classifier.', None, tensors({'linear.weight': (4, 4)}, 4)),
    ]
    for old, new, seed in (('backbone.', '', 1), (momentum, 'momentum_encoder.', 2)):
        pairs += as_children(old, f'{new}backbone.', backbone(seed), sequential)
    return expect(pairs)


def as_children(old: str, new: str, part: dict, sequential: bool = True) -> list:
    places = dict(conv1='0', bn1='1', layer1='4', layer2='5', layer3='6', layer4='7')
    pairs = []
    for key, value in part.items():
        first, _, rest = key.partition('.')
        name = f'{places[first]}.{rest}' if sequential else key
        pairs.append((old + name, new + key, {'': value}))
    return pairs


def lightly_student() -> tuple:
    return expect(
        [
            ('query_backbone.', 'backbone.', backbone(1)),
            ('backbone.', 'momentum_encoder.backbone.', backbone(2)),
            ('query_projection_head.', None, tensors({'layers.0.weight': (4, 4)}, 3)),
            ('criterion.', None, tensors({'memory_bank.bank': (4, 4)}, 5)),
        ]
    )


def solo_learn(old: str = 'backbone') -> tuple:
    return expect(
        [
            (f'{old}.', 'backbone.', backbone(1)),
            (f'momentum_{old}.', 'momentum_encoder.backbone.', backbone(2)),
            ('classifier.', None, tensors({'weight': (5, 512), 'bias': (5,)}, 3)),
            ('projector.', None, mlp('ln-l', 4)),
            ('momentum_projector.', None, mlp('ln-l', 5)),
            ('head.', None, tensors({'last_layer.weight_g': (4, 1)}, 6)),
            ('', None, tensors({'queue': (2, 4, 8), 'queue_ptr': (1,)}, 7)),
        ]
    )


def vissl() -> tuple:
    return expect(
        [
            ('trunk._feature_blocks.', 'backbone.', backbone(1)),
            ('heads.', None, tensors({'0.clf.0.weight': (4, 4)}, 3)),
        ]
    )


def dino() -> tuple:
    pairs = [('student.head.', None, tensors({'last_layer.weight_g': (4, 1)}, 3))]
    for old, new, seed in (('student.', '', 1), ('teacher.', 'momentum_encoder.', 2)):
        pairs.append((f'{old}backbone.', f'{new}backbone.', backbone(seed)))
    return expect(pairs)


def as_file(weights: dict, inside: str = '') -> dict:
    """What VISSL and DINO write: a dict for each network, DINO's of parallel wrappers."""
    networks: dict = {'heads': {}} if inside == 'vissl' else {}
    for key, value in weights.items():
        network, _, rest = key.partition('.')
        rest = rest if inside == 'vissl' else f'module.{rest}'
        networks.setdefault(network, {})[rest] = value
    if inside == 'vissl':
        return dict(classy_state_dict=dict(base_model=dict(model=networks, meta={})), iteration=1)
    return dict(networks, optimizer=dict(state={}), epoch=3)
