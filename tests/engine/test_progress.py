"""A run that goes on with other steps keeps to its schedules."""

import subprocess
from unittest import mock

import pytest
import torch
from mmengine.logging import MMLogger

from .runs import ROOT, config, environment, image_folder, train

PIXPRO = 'pixpro/pixpro_resnet50_8xb128-coslr-100e_in1k.py'


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp('images'), 16)


def recipe(images, folder, batch, epochs=4, accumulate=1, resume=None, by_epoch=False):
    cfg = config(PIXPRO, images, folder, epochs=epochs, **{'train_dataloader.batch_size': batch})
    cfg.optim_wrapper.accumulative_counts = accumulate
    options = dict(by_epoch=True, convert_to_iter_based=not by_epoch)
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=0.1, begin=0, end=1, **options),
        dict(type='CosineAnnealingLR', begin=1, end=4, T_max=3, **options),
    ]
    cfg.resume, cfg.load_from = resume is not None, resume and str(resume)
    return cfg


def rates(runner, count):
    return list(runner.message_hub.log_scalars['train/lr'].data[0])[-count:]


def warned(cfg):
    lines = []
    with mock.patch.object(MMLogger, 'warning', lambda self, text: lines.append(text)):
        runner, recorder = train(cfg)
    return runner, recorder, '\n'.join(map(str, lines))


@pytest.mark.parametrize('by_epoch', [False, True])
@pytest.mark.parametrize(
    'old, new', [((4, 1), (2, 1)), ((2, 1), (4, 1)), ((4, 1), (4, 2)), ((8, 1), (4, 2))]
)
def test_another_batch(images, tmp_path, old, new, by_epoch):
    options = dict(by_epoch=by_epoch)
    train(recipe(images, tmp_path / 'old', old[0], accumulate=old[1], **options))
    straight, whole = train(recipe(images, tmp_path / 'b', new[0], accumulate=new[1], **options))
    path = tmp_path / 'old' / 'epoch_2.pth'
    resumed, half, said = warned(
        recipe(images, tmp_path / 'c', new[0], accumulate=new[1], resume=path, **options)
    )
    steps = 2 * 16 // new[0]  # of the two epochs left
    assert half.momenta == whole.momenta[-steps:] and len(half.losses) == steps
    assert rates(resumed, steps) == pytest.approx(rates(straight, steps), rel=1e-9)
    encoder = resumed.model.momentum_encoder
    assert encoder.num_updates == encoder.total_steps == 4 * 16 // new[0] // new[1]
    assert resumed.iter == straight.iter
    assert 'Schedules follow the progress in epochs' in said and 'iterations into' not in said
    if old[0] != new[0]:
        assert f'images a process and step: {old[0]} before, {new[0]} now' in said


def test_the_same_steps_are_not_touched(images, tmp_path):
    train(recipe(images, tmp_path / 'a', 4))
    said = warned(recipe(images, tmp_path / 'b', 4, resume=tmp_path / 'a' / 'epoch_2.pth'))[2]
    assert 'before' not in said and 'from iteration' not in said


def test_a_checkpoint_of_earlier_versions(images, tmp_path):
    train(recipe(images, tmp_path / 'a', 4))
    path = tmp_path / 'a' / 'epoch_2.pth'
    content = torch.load(path, weights_only=False)
    del content['meta']['step']
    torch.save(content, path)
    runner, half, said = warned(recipe(images, tmp_path / 'b', 8, resume=path))
    assert 'iterations an epoch: 4 before, 2 now' in said and len(half.losses) == 4
    assert runner.model.momentum_encoder.num_updates == 8


def test_a_run_of_iterations(images, tmp_path):
    def loop(folder, batch, iters, resume=None):
        cfg = recipe(images, tmp_path / folder, batch, resume=resume)
        cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=iters)
        cfg.train_dataloader.sampler = dict(type='InfiniteSampler', shuffle=True)
        cfg.param_scheduler = dict(
            type='LinearLR', by_epoch=False, start_factor=1, end_factor=0.1, end=6
        )
        cfg.default_hooks.checkpoint.update(by_epoch=False, interval=3)
        return cfg

    train(loop('a', 4, 6))
    runner, recorder, said = warned(loop('b', 2, 6, tmp_path / 'a' / 'iter_3.pth'))
    assert len(recorder.losses) == 3 and 'goes on at 3 of 6' in said
    assert 'images a process and step: 4 before, 2 now' in said
    assert 'iterations into' not in said
    encoder = runner.model.momentum_encoder
    assert encoder.num_updates == encoder.total_steps == 6


@pytest.mark.slow
def test_another_number_of_processes(images, tmp_path):
    """Two processes, then one: twice the steps, the same schedules."""
    cfg = recipe(images, tmp_path / 'run', 4, epochs=2)
    cfg.custom_imports = dict(imports=['tests.models.tiny'], allow_failed_imports=False)
    cfg.dump(tmp_path / 'two.py')
    command = [
        'bash',
        ROOT / 'tools' / 'dist_train.sh',
        tmp_path / 'two.py',
        2,
        '--work-dir',
        cfg.work_dir,
    ]
    env = environment()
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    straight, whole = train(recipe(images, tmp_path / 'b', 4))
    path = tmp_path / 'run' / 'epoch_2.pth'
    resumed, half, said = warned(recipe(images, tmp_path / 'c', 4, resume=path))
    assert 'processes: 2 before, 1 now' in said
    assert half.momenta == whole.momenta[8:] and resumed.iter == 16
    assert rates(resumed, 8) == pytest.approx(rates(straight, 8), rel=1e-9)
