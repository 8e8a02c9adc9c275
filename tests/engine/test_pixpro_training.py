"""PixPro in mmengine's runner, on real files."""

from unittest import mock

import pytest
import torch
from mmengine.logging import MMLogger

from dense_ssl.models.momentum_encoder import cosine_momentum

from .runs import config, image_folder, train

PIXPRO = 'pixpro/pixpro_resnet50_8xb128-coslr-100e_in1k.py'
PIXCONTRAST = 'pixpro/pixcontrast_resnet50_8xb128-coslr-100e_in1k.py'
STEPS = 3  # of an epoch: 13 images, batches of 4, the rest left out


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp('images'), 13)


def recipe(name, *args, accumulate=1, **kwargs):
    cfg = config(name, *args, **kwargs)
    cfg.optim_wrapper.accumulative_counts = accumulate
    return cfg


@pytest.mark.parametrize('name', [PIXPRO, PIXCONTRAST])
def test_a_resumed_run_equals_an_uninterrupted_one(images, tmp_path, name):
    whole, straight = train(recipe(name, images, tmp_path / 'a', epochs=4))
    cfg = recipe(name, images, tmp_path / 'b', epochs=4)
    cfg.load_from = str(tmp_path / 'a' / 'epoch_2.pth')
    cfg.resume = True
    half, resumed = train(cfg)
    assert len(straight.losses) == 4 * STEPS
    assert resumed.losses == straight.losses[2 * STEPS :]
    assert resumed.momenta == straight.momenta[2 * STEPS :]
    for (key, a), b in zip(whole.model.state_dict().items(), half.model.state_dict().values()):
        assert torch.equal(a, b), key
    # what the released schedule has for these steps
    assert straight.momenta == [
        cosine_momentum(0.99, 1.0, k, 4 * STEPS) for k in range(2, 4 * STEPS + 2)
    ]


@pytest.mark.parametrize('convert', [True, False])
def test_an_extended_run_goes_on_along_the_longer_schedule(images, tmp_path, convert):
    def schedule(folder, epochs):
        cfg = recipe(PIXPRO, images, tmp_path / folder, epochs=epochs)
        options = dict(by_epoch=True, convert_to_iter_based=convert)
        cfg.param_scheduler = [
            dict(type='LinearLR', start_factor=0.1, begin=0, end=1, **options),
            dict(type='CosineAnnealingLR', begin=1, end=epochs, T_max=epochs - 1, **options),
        ]
        return cfg

    def rates(runner):
        return list(runner.message_hub.log_scalars['train/lr'].data[0])

    train(schedule('a', 2))
    cfg = schedule('a', 4)
    cfg.resume = True
    runner, longer = train(cfg)
    assert longer.momenta == [
        cosine_momentum(0.99, 1.0, k, 4 * STEPS) for k in range(2 * STEPS + 2, 4 * STEPS + 2)
    ]
    straight, _ = train(schedule('b', 4))
    # rates of both runs' iterations, as the message hub is resumed too
    assert rates(runner)[-2 * STEPS :] == pytest.approx(rates(straight)[-2 * STEPS :], rel=1e-12)
    assert rates(straight)[-2 * STEPS] > 1e-3


def test_resumed_amid_an_accumulation(images, tmp_path):
    def run(folder, **kwargs):
        return recipe(PIXPRO, images, tmp_path / folder, accumulate=2, **kwargs)

    whole, straight = train(run('a', epochs=2))
    cfg = run('b', epochs=2)
    cfg.load_from = str(tmp_path / 'a' / 'epoch_1.pth')
    cfg.resume = True
    half, resumed = train(cfg)
    assert STEPS % 2 and resumed.losses == straight.losses[STEPS:]
    assert resumed.momenta == straight.momenta[STEPS:]
    for (key, a), b in zip(whole.model.state_dict().items(), half.model.state_dict().values()):
        assert torch.equal(a, b), key


def test_extended_after_an_incomplete_accumulation(images, tmp_path):
    # Three iterations are two steps, three more another two.
    train(recipe(PIXPRO, images, tmp_path, epochs=1, accumulate=2))
    cfg = recipe(PIXPRO, images, tmp_path, epochs=2, accumulate=2)
    cfg.resume = True
    runner, _ = train(cfg)
    encoder = runner.model.momentum_encoder
    assert encoder.num_updates == encoder.total_steps == 4


def test_resumed_within_an_epoch(images, tmp_path):
    cfg = recipe(PIXPRO, images, tmp_path / 'a', epochs=2)
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=4)
    train(cfg)
    cfg = recipe(PIXPRO, images, tmp_path / 'b', epochs=2)
    cfg.load_from = str(tmp_path / 'a' / 'iter_4.pth')
    cfg.resume = True
    lines = []
    with mock.patch.object(MMLogger, 'warning', lambda self, text: lines.append(text)):
        train(cfg)
    assert any('1 iterations into epoch 2' in line for line in lines)


def test_accumulated_gradients_are_one_step(images, tmp_path):
    runner, record = train(recipe(PIXPRO, images, tmp_path, epochs=2, accumulate=2))
    encoder = runner.model.momentum_encoder
    assert encoder.num_updates == encoder.total_steps == STEPS
    # iterations 1..6, of which the even ones end with a step
    assert record.momenta == [cosine_momentum(0.99, 1.0, k, STEPS) for k in (1, 2, 2, 3, 3, 4)]


def test_what_is_logged(images, tmp_path):
    runner, _ = train(recipe(PIXPRO, images, tmp_path, epochs=1))
    scalars = runner.message_hub.log_scalars
    for key in (
        'loss',
        'loss_pixel',
        'positive_pairs',
        'no_overlap',
        'positive_cosine',
        'momentum',
        'lr',
    ):
        assert len(scalars[f'train/{key}'].data[0]) == STEPS, key
    prefixes = {
        k.split('.')[0]
        for k in torch.load(tmp_path / 'epoch_1.pth', weights_only=False)['state_dict']
    }
    assert prefixes == {'backbone', 'projector', 'propagation', 'momentum_encoder'}
