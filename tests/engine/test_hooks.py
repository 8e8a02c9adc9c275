import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from dense_ssl.errors import TransferError

from .runs import config, image_folder, train

DENSECL = 'densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py'


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp('images'), 13)


SCHEDULED = {'model.end_momentum': 1.0, 'model.momentum': 0.9}


@pytest.mark.parametrize('workers', [0, 2])
def test_resumed_run_equals_an_uninterrupted_one(images, tmp_path, workers):
    options = {'train_dataloader.num_workers': workers, **SCHEDULED}
    _, straight = train(config(DENSECL, images, tmp_path / 'straight', epochs=4, **options))
    # stopped after two of the four epochs
    cfg = config(DENSECL, images, tmp_path / 'parts', epochs=4, **options)
    cfg.custom_hooks.append(dict(type=StopAfter, epochs=2))
    _, first = train(cfg)
    cfg = config(DENSECL, images, tmp_path / 'parts', epochs=4, **options)
    cfg.resume = True
    runner, second = train(cfg)
    assert len(straight.losses) == 12 and len(second.losses) == 6
    assert first.losses + second.losses == straight.losses
    assert first.momenta + second.momenta == straight.momenta
    assert runner.model.momentum_encoder.num_updates == 12


class StopAfter(Hook):
    """Ends training in the middle, after the checkpoint of an epoch."""

    priority = 'LOWEST'

    def __init__(self, epochs):
        self.epochs = epochs

    def after_train_epoch(self, runner):
        if runner.epoch + 1 == self.epochs:
            runner.train_loop._max_epochs = self.epochs


def test_seeds_make_runs_repeat_and_epochs_differ(images, tmp_path):
    runs = [train(config(DENSECL, images, tmp_path / str(i)))[1].losses for i in range(2)]
    assert runs[0] == runs[1]
    other = config(DENSECL, images, tmp_path / 'other')
    other.merge_from_dict({'randomness.seed': 1})
    assert train(other)[1].losses != runs[0]


def test_persistent_workers_are_refused(images, tmp_path):
    cfg = config(
        DENSECL,
        images,
        tmp_path,
        **{'train_dataloader.num_workers': 1, 'train_dataloader.persistent_workers': True},
    )
    with pytest.raises(ValueError, match='persistent_workers'):
        train(cfg)
    cfg.custom_hooks = [dict(type='ExactResumeHook', exact=False)]
    train(cfg)


def test_own_hooks_do_not_replace_what_a_run_needs(images, tmp_path):
    cfg = config(DENSECL, images, tmp_path, epochs=1)
    cfg.custom_hooks = [dict(type='EMAHook')]
    cfg.pop('runner_type')
    runner, _ = train(cfg)
    assert len(runner.model.queue) == 8 and runner.model.momentum_encoder.num_updates == 3


@pytest.mark.parametrize('what', ['error', 'fit', 'warn'])
def test_hooks_of_earlier_configs(images, tmp_path, what):
    cfg = config(DENSECL, images, tmp_path, epochs=1)
    cfg.custom_hooks = [
        dict(type=name)
        for name in (
            'EpochSeedHook',
            'DataCheckHook',
            'BatchNormCheckHook',
            'MomentumScheduleHook',
            'ScheduleExtensionHook',
            'PendingGradientsHook',
            'DataWaitHook',
        )
    ]
    cfg.custom_hooks.append(dict(type='QueueLengthHook', if_longer=what))
    if what == 'error':
        with pytest.raises(ValueError, match='queue_len=8'):
            train(cfg)
        return
    runner, _ = train(cfg)
    assert len(runner.model.queue) == (8 if what == 'fit' else 65536)
    for kind in ('FitCheckHook', 'ExactResumeHook', 'MomentumUpdateHook'):
        assert [type(h).__name__ for h in runner.hooks].count(kind) == 1


def test_momentum_schedule_knows_accumulation_and_extension(images, tmp_path):
    cfg = config(DENSECL, images, tmp_path, **SCHEDULED, **{'optim_wrapper.accumulative_counts': 2})
    runner, _ = train(cfg)  # 2 epochs of 3 iterations, a step every second
    encoder = runner.model.momentum_encoder
    assert encoder.total_steps == 3 and encoder.num_updates == 3
    longer = config(
        DENSECL, images, tmp_path, epochs=4, **SCHEDULED, **{'optim_wrapper.accumulative_counts': 2}
    )
    longer.resume = True
    runner, _ = train(longer)
    encoder = runner.model.momentum_encoder
    assert encoder.total_steps == 6 and encoder.num_updates == 6


def test_queue_fits_the_folder(images, tmp_path):
    runner, _ = train(config(DENSECL, images, tmp_path, epochs=1))
    assert len(runner.model.queue) == len(runner.model.dense_queue) == 8


def test_queue_longer_than_the_data_set_is_refused(images, tmp_path):
    cfg = config(DENSECL, images, tmp_path)
    cfg.custom_hooks = [dict(type='FitCheckHook', long_queue='error')]
    with pytest.raises(ValueError, match='65536 .*13 images.*queue_len=8'):
        train(cfg)


def test_batch_of_one_is_refused(images, tmp_path):
    cfg = config(DENSECL, images, tmp_path, **{'train_dataloader.batch_size': 1})
    with pytest.raises(ValueError, match='batch_size=1.*backbone.norm'):
        train(cfg)


def test_lambda_warms_up_with_mmpretrains_hook(images, tmp_path):
    cfg = config(DENSECL, images, tmp_path, epochs=1)
    cfg.custom_hooks.append(dict(type='DenseCLHook', start_iters=2))
    runner, _ = train(cfg)
    assert runner.model.loss_lambda == 0.5  # back after two iterations
    scalars = runner.message_hub.get_scalar('train/loss_dense').data[0]
    assert scalars[0] == scalars[1] == 0 and scalars[2] > 0


def test_training_checkpoint_names_the_online_backbone(images, tmp_path):
    train(config(DENSECL, images, tmp_path, epochs=1))
    state = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)['state_dict']
    prefixes = {k.split('.')[0] for k in state}
    assert prefixes == {'backbone', 'projector', 'momentum_encoder', 'queue', 'dense_queue'}


def test_a_data_set_smaller_than_a_batch_is_refused(images, tmp_path):
    cfg = config(DENSECL, images, tmp_path, **{'train_dataloader.batch_size': 14})
    with pytest.raises(ValueError, match='13 images make no batch of 14'):
        train(cfg)


def test_skipped_files_are_counted_in_the_log(tmp_path):
    folder = image_folder(tmp_path / 'images', 9)
    (folder / 'broken.png').write_bytes(b'no image')
    options = {
        'train_dataloader.dataset.max_unreadable_fraction': 0.2,
        'train_dataloader.dataset.verify': False,
        'train_dataloader.batch_size': 5,
    }
    runner, _ = train(config(DENSECL, folder, tmp_path / 'run', epochs=1, **options))
    log = next((tmp_path / 'run').glob('*/*.log')).read_text()
    assert '1 of 10 files could not be read' in log


def test_mixed_precision_recipes_run_in_float32_on_cpu(images, tmp_path):
    if torch.cuda.is_available():
        pytest.skip('there is an accelerator')
    cfg = config(
        DENSECL,
        images,
        tmp_path,
        epochs=1,
        **{'optim_wrapper.type': 'AmpOptimWrapper', 'optim_wrapper.loss_scale': 'dynamic'},
    )
    _, recorder = train(cfg)
    assert len(recorder.losses) == 3


def test_resume_finds_the_image_order_without_a_given_seed(images, tmp_path):
    class Order(Hook):
        """Which images each iteration saw."""

        def __init__(self):
            self.paths = []

        def after_train_iter(self, runner, batch_idx, data_batch, outputs):
            self.paths += [s.img_path for s in data_batch['data_samples']]

    def run(work_dir, epochs, resume=False):
        cfg = config(DENSECL, images, work_dir, epochs=epochs)
        cfg.randomness = dict(seed=None, diff_rank_seed=True)
        cfg.resume = resume
        cfg.experiment_name = f'order_{work_dir.name}_{resume}'
        runner = Runner.from_cfg(cfg)
        order = Order()
        runner.register_hook(order)
        runner.train()
        return runner, order.paths

    runner, first = run(tmp_path / 'run', 1)
    resumed, second = run(tmp_path / 'run', 2, resume=True)
    assert resumed.seed == runner.seed
    sampler = runner.train_dataloader.sampler
    sampler.set_epoch(1)
    dataset = runner.train_dataloader.dataset
    expected = [dataset.get_data_info(i)['img_path'] for i in sampler]
    assert second == expected[: len(second)] and len(second) == 12


def test_starting_from_weights_starts_the_schedule_anew(images, tmp_path):
    runner, _ = train(config(DENSECL, images, tmp_path / 'first', **SCHEDULED))
    cfg = config(DENSECL, images, tmp_path / 'second', **SCHEDULED)
    cfg.load_from = str(tmp_path / 'first' / 'epoch_2.pth')
    _, recorder = train(cfg)
    assert recorder.momenta[0] < recorder.momenta[-1]
    assert recorder.momenta[0] == pytest.approx(0.9, abs=0.03)
    # a file with the online weights alone is not this very model
    state = {
        k: v
        for k, v in runner.model.state_dict().items()
        if k.startswith(('backbone.', 'projector.'))
    }
    torch.save(dict(state_dict=state), tmp_path / 'online.pth')
    cfg = config(DENSECL, images, tmp_path / 'third', **SCHEDULED)
    cfg.load_from = str(tmp_path / 'online.pth')
    with pytest.raises(TransferError, match='nothing of momentum_encoder'):
        train(cfg)


def test_an_optimizer_without_the_online_networks_is_refused(images, tmp_path):
    cfg = config(DENSECL, images, tmp_path, epochs=1)
    runner = Runner.from_cfg(cfg)
    other = torch.nn.Linear(1, 1)
    runner.optim_wrapper = OptimWrapper(torch.optim.SGD(other.parameters(), lr=0.1))
    with pytest.raises(ValueError, match='never move'):
        runner.train()
