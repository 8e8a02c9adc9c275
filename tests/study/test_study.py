"""What a study plans, keeps, refuses and reports; its cells only leave their files."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmpretrain.models import ResNet

from dense_ssl.engine.work_folder import claim
from dense_ssl.errors import UserError
from dense_ssl.study.budget import BUDGETS
from dense_ssl.study.labels import CocoLabels, SegmentationLabels, chosen
from dense_ssl.study.starts import RECIPES, WARM, read_starts

from ..finetune.tiny_data import write_coco, write_segmentation
from .studies import Pretended, coco, study, words


def labelled(tmp_path, **options):
    """Arguments for own label maps of three classes."""
    return ['--seg-data', write_segmentation(tmp_path / 'seg', **options), '--seg-classes', 3]


def cells_of(results):
    return {cell['id']: cell for cell in results['cells']}


def test_results_reuse_extension_and_failure(scenes, tmp_path):
    command = words(scenes, tmp_path / 's', *coco(scenes), '--seeds', 1)
    one = ['--methods', 'random', 'mocov2', '--tasks', 'probe', 'segmentation']
    first = Pretended(failing=['mocov2-seed0/pretrain'])
    cells = cells_of(study(*command, *one, launcher=first).run())
    assert first.ran == [
        *('random-seed0/probe', 'mocov2-seed0/pretrain', 'random-seed0/segmentation-1.0')
    ]
    assert cells['mocov2-seed0/pretrain']['state'] == 'failed'
    assert 'the reason' in cells['mocov2-seed0/pretrain']['error']
    assert cells['mocov2-seed0/probe']['state'] == 'blocked'
    assert cells['mocov2-seed0/segmentation-1.0']['state'] == 'blocked'

    again = Pretended()
    results = study(*command, *one, launcher=again).run()
    assert again.ran == [
        *('mocov2-seed0/pretrain', 'mocov2-seed0/probe', 'mocov2-seed0/segmentation-1.0')
    ]
    assert results == json.loads((tmp_path / 's' / 'results.json').read_text())
    tuned = cells_of(results)['mocov2-seed0/segmentation-1.0']
    assert tuned['metrics'] == dict(mIoU=11.0) and tuned['images_seen'] == 24
    folder = 'cells/mocov2-seed0/segmentation-1.0'
    assert (tuned['folder'], tuned['config']) == (folder, f'{folder}/config.py')
    losses = {1: 2, 2: 3, 3: 5, 4: 6}
    assert tuned['curve'] == [dict(step=s, loss=loss) for s, loss in losses.items()]
    assert cells_of(results)['random-seed0/probe']['metrics'] == dict(probe_mIoU=10, knn_mIoU=5)
    assert results['study']['images'] == 16 and results['study']['methods'] == ['random', 'mocov2']

    # more seeds, labels, methods and tasks: only what is new is run, what was is kept
    more = Pretended()
    tasks = ['--tasks', 'segmentation', 'detection', '--labels', 0.5, '--methods', 'densecl']
    extended = study(*command[:-1], 2, *tasks, launcher=more).run()
    study_ = extended['study']
    assert study_['methods'] == ['random', 'mocov2', 'densecl'] and study_['seeds'] == [0, 1]
    assert study_['labels'] == [1.0, 0.5] and {*study_['tasks']} == {
        *('probe', 'segmentation', 'detection')
    }
    assert all(cell['state'] == 'done' for cell in extended['cells'])
    assert len(more.ran) == len(extended['cells']) - 5 == 2 * (2 + 3 + 3 * 4) - 5
    assert cells_of(extended)['densecl-seed1/detection-0.5']['metrics'] == dict(
        box_AP=12.0, box_AP50=20.0
    )
    idle = Pretended()
    assert study(*command[:-1], 1, '--methods', 'random', launcher=idle).run() == extended
    assert idle.ran == []


def test_another_study_is_refused_and_overwritten_on_demand(scenes, tmp_path):
    data = labelled(tmp_path)
    command = words(scenes, tmp_path / 's', *data, '--seeds', 1, '--methods', 'random', 'mocov2')
    study(*command, launcher=Pretended()).run()
    cases = {
        'budget: .*tiny.*now .*small': ['--budget', 'small'],
        r'mocov2, options: \[\], now .*momentum': ['--set', 'mocov2.model.momentum=0.9'],
        'data, segmentation: other files': ['--seg-classes', 'a,b,c'],
    }
    for message, change in cases.items():
        with pytest.raises(UserError, match=message):
            study(*command, *change)
    variant = ['mocov2:fast', '--set', 'mocov2:fast.model.momentum=0.9']
    launcher = Pretended()
    study(*command, *variant, launcher=launcher).run()
    assert launcher.ran[0] == 'mocov2:fast-seed0/pretrain' and len(launcher.ran) == 3
    launcher = Pretended()  # one image more: what was trained on it is run anew, the rest stays
    (tmp_path / 'seg' / 'note').touch()
    results = study(*command, '--overwrite', launcher=launcher).run()
    assert {c.split('/')[1] for c in launcher.ran} == {'probe', 'segmentation-1.0'}
    assert results['study']['methods'] == ['random', 'mocov2']


def test_two_studies_in_one_folder(scenes, tmp_path):
    command = words(scenes, tmp_path / 's', '--methods', 'random')
    (tmp_path / 's').mkdir()
    lock = str(tmp_path / 's' / '.run.lock')
    code = (
        f'import fcntl, time; file = open({lock!r}, "w"); fcntl.lockf(file, fcntl.LOCK_EX)\n'
        'print("held", flush=True); time.sleep(60)'
    )
    with subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE) as other:
        try:
            other.stdout.readline()
            with pytest.raises(UserError, match='another run writes into'):
                study(*command, launcher=Pretended()).run()
        finally:
            other.kill()
    with claim(str(tmp_path / 's')):
        pass


def test_commands(scenes, tmp_path):
    weights = tmp_path / 'start.pth'
    network = ResNet(18, stem_channels=8, base_channels=8)
    torch.save({f'backbone.{k}': v for k, v in network.state_dict().items()}, weights)
    command = words(
        scenes, tmp_path / 's', '--seeds', 1, '--labels', 0.5, '--methods', 'densecl', weights,
        f'densecl:b+{weights}', '--set', 'densecl:b.model.momentum=0.9',
    )  # fmt: skip
    cells = {cell.id: cell.command[1:] for cell in study(*command).cells}
    folder = tmp_path / 's' / 'cells'
    assert cells['densecl:b+start-seed0/pretrain'][:6] == [
        *('tools/train.py', WARM['densecl'], '--work-dir'),
        *(f'{folder}/densecl_b+start-seed0/pretrain', '--data', f'{scenes}/unlabelled'),
    ]
    text = ' '.join(cells['densecl:b+start-seed0/pretrain'])
    assert f'--init-from {weights} --init-parts backbone' in text
    assert text.endswith('model.momentum=0.9') and '+model.backbone.stem_channels=8' in text
    assert 'momentum' not in ' '.join(cells['densecl-seed0/pretrain'])
    probe = cells['start-seed0/probe']
    assert probe[:3] == ['tools/analysis/probe.py', RECIPES['densecl'], str(weights)]
    tuned = ' '.join(cells['densecl-seed0/segmentation-0.5'])
    assert f'--init-from {folder}/densecl-seed0/pretrain/iter_12.pth' in tuned
    assert '--resume' in text and '--resume' not in tuned  # these begin anew
    assert '--small 64 --small-depth 18 --small-base-channels 8' in tuned


def test_starts_are_read_with_their_settings(tmp_path):
    starts = read_starts(
        ['random', 'mocov2', 'pixpro:a', 'pixpro:b'],
        ['pixpro:a.model.x=1', 'pixpro:a.y.z=2', 'mocov2.lr=3'],
    )
    assert [s.options for s in starts] == [[], ['lr=3'], ['model.x=1', 'y.z=2'], []]
    file = tmp_path / 'w.pth'
    file.touch()
    warm = read_starts(['random', 'mocov2', 'densecl:a'], ['mocov2.lr=3'], init_from=file)
    assert [s.name for s in warm] == ['random', 'mocov2+w', 'densecl:a+w']
    assert warm[1].options == ['lr=3'] and warm[1].file == str(file)
    for methods, message in (
        (['densecel'], 'Did you mean densecl'),
        (['none.pth'], 'no such file'),
        (['mocov2', 'mocov2'], 'twice'),
        ([f'mocov2+{tmp_path}/no.pth'], 'no file'),
    ):
        with pytest.raises(UserError, match=message):
            read_starts(methods)
    with pytest.raises(UserError, match='Did you mean mocov2'):
        read_starts(['mocov2'], ['moco2.lr=3'])


def test_bad_input(scenes, tmp_path):
    folder = tmp_path / 's'
    command = words(scenes, folder)
    other = tmp_path / 'other.pth'
    torch.save({'backbone.layer1.0.conv3.weight': torch.zeros(1)}, other)
    deep = {f'layer{i + 1}.{j}.conv3.w': 0 for i, n in enumerate((3, 4, 6, 3)) for j in range(n)}
    torch.save({f'backbone.{k}': torch.zeros(1) for k in deep}, other)
    lone = tmp_path / 'lone'
    for name in ('img_dir', 'ann_dir'):
        (lone / name / 'train').mkdir(parents=True)
    (lone / 'img_dir' / 'train' / 'a.jpg').touch()
    no_objects = tmp_path / 'empty.json'
    no_objects.write_text('{}')
    nameless = tmp_path / 'nameless.pth'
    torch.save({'conv1.weight': torch.zeros(8, 3, 7, 7)}, nameless)
    cases = {
        'does not exist': ['--images', tmp_path / 'none'],
        '--seg-data .* has neither': ['--seg-data', scenes / 'images'],
        'labels of other images': ['--seg-data', lone],
        'lies inside': ['--work-dir', scenes / 'unlabelled' / 's'],
        '--seeds must be 1': ['--seeds', 0],
        '--labels 0.0': ['--labels', 0],
        '--tasks detection needs --coco-ann': ['--tasks', 'detection'],
        '--coco-ann and --coco-images go together': ['--coco-ann', no_objects],
        'images" is missing': ['--coco-ann', no_objects, '--coco-images', lone],
        '--budget huge': ['--budget', 'huge'],
        'pretrain_iters must be 1': ['--iters', 0],
    }
    for message, change in cases.items():
        with pytest.raises(UserError, match=message):
            study(*command, *change)
    late = {
        'no weights named backbone': ['--methods', nameless],
        'holds a ResNet of depth 50.*depth 18': ['--methods', other],
        '16 images, fewer than the 32': ['--batch-size', 32],
        'mocov2: .*no key .momentun': ['--set', 'mocov2.model.momentun=0.9'],
        'holds the index': [
            *('--seg-data', write_segmentation(tmp_path / 'x'), '--seg-classes', 2),
        ],
        'no label map of 4 holds the class': [*one_class(tmp_path)],
    }
    for message, change in late.items():  # and none of these claims the folder
        launcher = Pretended()
        with pytest.raises(UserError, match=message):
            study(*command, '--methods', 'mocov2', *change, launcher=launcher).run()
        assert launcher.ran == []
    (tmp_path / 't' / 'cells').mkdir(parents=True)
    with pytest.raises(UserError, match='was not made by a study'):
        study(*words(scenes, tmp_path / 't'))


def one_class(tmp_path):
    root = write_segmentation(tmp_path / 'one', classes=3)
    import mmcv

    for path in root.glob('ann_dir/*/*.png'):
        mmcv.imwrite(np.zeros((64, 64), np.uint8), str(path))
    return ['--seg-data', root, '--seg-classes', 3]


def test_without_labels_methods_are_pretrained_only(scenes, tmp_path):
    command = words(scenes, tmp_path / 's', '--seeds', 1, '--methods', 'random', 'mocov2')
    i = command.index('--seg-data')
    del command[i : i + 2]
    launcher = Pretended()
    results = study(*command, launcher=launcher).run()
    assert launcher.ran == ['mocov2-seed0/pretrain']
    assert 'pre-trained, not compared' in results['study']['notes'][0]
    with pytest.raises(UserError, match='nothing to do'):
        study(*command, '--methods', 'random', '--work-dir', tmp_path / 't')


def test_budget_in_hours(scenes, tmp_path):
    command = words(scenes, tmp_path / 's', '--seeds', 1)
    for name in ('--iters', '--finetune-iters', '--base-channels'):
        i = command.index(name)
        del command[i : i + 2]
    budgets = [study(*command, '--budget', hours).plan.budget for hours in ('0.05h', '2h', '5000h')]
    few, more, most = (b.pretrain_iters for b in budgets)
    assert 2 * few < more < most
    assert budgets[0].depth == 18 and budgets[2].depth == 50
    launcher = Pretended()
    study(*command, '--budget', '2h', '--methods', 'random', 'mocov2', launcher=launcher).run()
    kept = study(*command, '--budget', '2h').plan.budget  # not measured again
    assert kept == study(*command, '--budget', '2h').plan.budget


@given(st.integers(1, 200), st.integers(0, 5), st.floats(0.01, 1), st.floats(0.01, 1))
def test_parts_are_nested(number, seed, a, b):
    small, large = chosen(number, min(a, b), seed), chosen(number, max(a, b), seed)
    assert {*small} <= {*large} <= {*range(number)} and small == sorted(small)
    assert len(small) == max(1, round(min(a, b) * number))


def test_parts_of_label_maps(tmp_path):
    root = write_segmentation(tmp_path / 'seg', images=10)
    labels = SegmentationLabels(root, '3', tmp_path / 'labels')
    assert labels.part(1, 0) == root and labels.images(0.3) == 3

    def files(folder, kind='img_dir', split='train'):
        return {p.stem for p in (folder / kind / split).iterdir() if p.resolve().is_file()}

    half, few = labels.part(0.5, 1), labels.part(0.1, 1)
    assert files(few) < files(half) and len(files(half)) == 5 and len(files(few)) == 1
    assert files(half) == files(half, 'ann_dir') and len(files(half, split='val')) == 10
    assert files(half) != files(labels.part(0.5, 2))
    assert files(half) == files(SegmentationLabels(root, '3', tmp_path / 'other').part(0.5, 1))
    for name in ('img_dir', 'ann_dir'):
        (root / name / 'val').rename(root / name / 'unused')
    held = SegmentationLabels(root, '3', tmp_path / 'held')
    everything = held.part(1, 0)
    assert len(files(everything)) == 8 and files(everything, split='val') == {'0', '5'}
    assert 'has no val: 2 images' in held.notes[0]
    assert files(held.part(0.5, 0), split='val') == {'0', '5'}


def test_parts_of_coco_annotations(tmp_path):
    ann, images = write_coco(tmp_path, images=10)
    content = json.loads(ann.read_text())
    content['annotations'][3]['segmentation'] = []
    ann.write_text(json.dumps(content))
    labels = CocoLabels(ann, images, None, None, tmp_path / 'labels')
    assert ['held out' in labels.notes[0], 'boxes alone' in labels.notes[1]] == [True, True]

    def names(path):
        part = json.loads(path.read_text())
        assert {a['image_id'] for a in part['annotations']} == {i['id'] for i in part['images']}
        assert not any(a['segmentation'] for a in part['annotations'])
        assert len(part['categories']) == 2
        return {image['file_name'] for image in part['images']}

    val = tmp_path / 'labels' / 'coco-val.json'
    text = labels.words(0.5, 0)
    assert str(val) in text and len(names(val)) == 2
    few, half, whole = (names(labels.part(p, 0)) for p in (0.1, 0.5, 1))
    assert few < half < whole and [len(few), len(half), len(whole)] == [1, 4, 8]
    assert not whole & names(val)


def test_budgets_keep_their_names():
    assert [*BUDGETS] == ['tiny', 'small', 'medium']
    tiny = BUDGETS['tiny']
    assert tiny.network == [
        *('model.backbone.depth=18', '+model.backbone.base_channels=32'),
        '+model.backbone.stem_channels=32',
    ]
    assert BUDGETS['medium'].network == ['model.backbone.depth=50']
