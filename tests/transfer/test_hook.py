"""When the hook loads, and when it leaves the model alone."""

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import Dataset

from dense_ssl.transfer import TransferError

from .small_models import distinct, prefixed, resnet


class Toy(BaseModel):
    """A backbone that every step moves, so that a reload would be seen."""

    def __init__(self):
        super().__init__()
        self.backbone = resnet()
        self.seen = []

    def init_weights(self):
        for parameter in self.parameters():
            torch.nn.init.constant_(parameter, 0.5)

    def forward(self, x, mode='loss'):
        self.seen.append(self.backbone.conv1.weight.detach().clone())
        return dict(loss=self.backbone.conv1.weight.sum())


class Numbers(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return dict(x=torch.ones(1))


@pytest.fixture
def pretrained(tmp_path):
    path = tmp_path / 'pretrained.pth'
    weights = prefixed('backbone.', distinct(resnet()))
    torch.save(dict(state_dict=weights, meta=dict(epoch=200, seed=3)), path)
    return path, weights['backbone.conv1.weight']


def run(tmp_path, checkpoint, name, steps=1, **kwargs):
    runner = Runner(
        Toy(),
        str(tmp_path / 'work'),
        train_dataloader=dict(
            dataset=Numbers(),
            batch_size=2,
            num_workers=0,
            sampler=dict(type='InfiniteSampler', shuffle=False),
        ),
        train_cfg=dict(by_epoch=False, max_iters=steps),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.125)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1, by_epoch=False)),
        custom_hooks=[
            dict(type='dense_ssl.transfer.PretrainedTransferHook', checkpoint=str(checkpoint))
        ],
        default_scope='mmengine',
        experiment_name=f'{tmp_path.name}-{name}',
        **kwargs,
    )
    runner.train()
    return runner


def test_weights_are_there_at_the_first_step(tmp_path, pretrained):
    path, conv1 = pretrained
    runner = run(tmp_path, path, 'first')
    assert torch.equal(runner.model.seen[0], conv1)


def test_resuming_keeps_the_runs_own_weights(tmp_path, pretrained):
    path, conv1 = pretrained
    run(tmp_path, path, 'begin')
    path.unlink()  # not needed any more
    runner = run(tmp_path, path, 'go on', steps=2, resume=True)
    assert len(runner.model.seen) == 1
    torch.testing.assert_close(runner.model.seen[0], conv1 - 0.125)
    saved = torch.load(tmp_path / 'work' / 'iter_2.pth', weights_only=False)['meta']
    assert saved['transfer']['parts'] == ['backbone']
    assert saved['transfer']['pretraining'] == dict(epoch=200, seed=3)


def test_resuming_from_nothing_still_loads(tmp_path, pretrained):
    path, conv1 = pretrained
    runner = run(tmp_path, path, 'auto', resume=True)
    assert torch.equal(runner.model.seen[0], conv1)


def test_a_checkpoint_that_does_not_fit_stops_before_the_first_step(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save(prefixed('backbone.', resnet(34).state_dict()), path)
    with pytest.raises(TransferError, match='ResNet-34'):
        run(tmp_path, path, 'refused')
    assert not list((tmp_path / 'work').glob('*.pth'))
