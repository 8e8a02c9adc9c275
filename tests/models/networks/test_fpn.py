"""The FPN against mmdet's, and its sections against the whole."""

import pytest
import torch

from dense_ssl.models.networks.fpn import FPN, freeze_unread, pyramid_sections
from tests.models.tiny_mcl import randomise

CHANNELS = [3, 4, 5, 6]
OPTIONS = dict(in_channels=CHANNELS, out_channels=7, norm_cfg=dict(type='BN'))


def maps(batch=6, size=16, grad=False):
    torch.manual_seed(1)
    return [
        torch.randn(batch, c, size >> i, size >> i, dtype=torch.float64).requires_grad_(grad)
        for i, c in enumerate(CHANNELS)
    ]


def build(kind):
    if kind == 'own':
        return randomise(FPN(**OPTIONS))
    necks = pytest.importorskip('mmdet.models.necks')
    return randomise(necks.FPN(num_outs=4, **OPTIONS))


def test_same_as_mmdet():
    theirs, own = build('mmdet'), FPN(**OPTIONS).double()
    own.load_state_dict(theirs.state_dict(), strict=True)
    assert own.init_cfg == theirs.init_cfg
    for mode in (True, False):
        pairs = zip(own.train(mode)(maps()), theirs.train(mode)(maps()))
        for a, b in pairs:
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('kind', ['own', 'mmdet'])
@pytest.mark.parametrize('sections', [[(3, 3), (2, 1), (1, 1), (0, 1)], [(3, 2)], [(2, 4), (0, 2)]])
def test_sections_are_slices_of_the_whole(kind, sections):
    fpn = build(kind).eval()
    results = []
    for run in ('whole', 'sections'):
        inputs = maps(sum(n for _, n in sections), grad=True)
        fpn.zero_grad()
        if run == 'whole':
            full, done, out = fpn(inputs), 0, []
            for level, count in sections:
                out.append(full[level][done : done + count])
                done += count
        else:
            out = pyramid_sections(fpn, inputs, sections)
        sum((o * o).sum() for o in out).backward()
        grads = [p.grad for p in fpn.parameters() if p.grad is not None]
        results.append(
            out + [x.grad for x in inputs if x.grad is not None] + [g for g in grads if g.any()]
        )
    assert len(results[0]) >= len(results[1])
    for a, b in zip(*([r for r in x if r.any()] for x in results)):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_parts_leave_on_the_way_down():
    fpn, seen = build('own'), {}
    for name, module in fpn.named_modules():
        if name.count('.') == 1:
            module.register_forward_hook(lambda m, x, y, name=name: seen.update({name: len(y)}))
    pyramid_sections(fpn, maps(10), [(3, 4), (2, 3), (1, 2), (0, 1)])
    assert seen == {
        'lateral_convs.3': 10, 'lateral_convs.2': 6, 'lateral_convs.1': 3,
        'lateral_convs.0': 1, 'fpn_convs.3': 4, 'fpn_convs.2': 3,
        'fpn_convs.1': 2, 'fpn_convs.0': 1
    }  # yapf: disable
    seen.clear()
    pyramid_sections(fpn, maps(10), [(3, 10)])
    assert set(seen) == {'lateral_convs.3', 'fpn_convs.3'}


def test_bad_calls_are_explained():
    fpn = build('own')
    with pytest.raises(ValueError, match='out_indices'):
        fpn(maps()[:3])
    with pytest.raises(ValueError, match='descending'):
        pyramid_sections(fpn, maps(), [(4, 6)])


@pytest.mark.parametrize(
    'levels, options',
    [
        ((0, 1, 2, 3), {}),
        ((1, 2), {}),
        ((-1,), {}),
        ((0, 4), dict(num_outs=5)),
        ((-1,), dict(num_outs=6)),
        *(
            (levels, dict(num_outs=5, start_level=1, add_extra_convs=source))
            for source in ('on_input', 'on_lateral', 'on_output')
            for levels in ((0, 1, 2, 3), (1, 3), (4,))
        ),
    ],
)
def test_what_no_level_reads_does_not_train(levels, options):
    necks = pytest.importorskip('mmdet.models.necks')
    fpn = necks.FPN(**{'num_outs': 4, **options}, **OPTIONS).double()
    out = fpn(maps())
    sum((out[i] ** 2).sum() for i in levels).backward()
    read = {n for n, p in fpn.named_parameters() if p.grad is not None}
    freeze_unread(fpn, levels)
    assert read == {n for n, p in fpn.named_parameters() if p.requires_grad}


def test_levels_that_the_fpn_does_not_have():
    with pytest.raises(ValueError, match='4 maps, 0 to 3'):
        freeze_unread(FPN(**OPTIONS), (1, 4))
