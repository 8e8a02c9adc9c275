import numpy as np
import torch

from dense_ssl.models.batch_shuffle import BatchShuffle

from ..distributed import run_distributed


def round_trip(rank, world, batch):
    torch.manual_seed(rank)
    x = torch.arange(batch)[:, None] + 100.0 * rank
    shuffle = BatchShuffle(batch, x.device)
    mixed = shuffle.shuffle(x)
    back = shuffle.unshuffle(mixed * 2)
    off = BatchShuffle(batch, x.device, enabled=False)
    return (x.numpy(), mixed.numpy(), back.numpy(), off.shuffle(x).numpy())


def test_exchanges_samples_and_brings_them_home():
    for batch in (4, 5):
        results = run_distributed(round_trip, args=(batch,))
        everything = np.concatenate([r[0] for r in results])
        mixed = np.concatenate([r[1] for r in results])
        assert sorted(everything.ravel()) == sorted(mixed.ravel())
        for rank, (x, own, back, off) in enumerate(results):
            assert own.shape == x.shape
            foreign = (own >= 100 * (1 - rank)) & (own < 100 * (2 - rank))
            assert foreign.sum() == batch // 2  # half comes from the other
            assert np.array_equal(back, 2 * x)
            assert np.array_equal(off, x)


def test_does_nothing_in_one_process():
    x = torch.randn(3, 2)
    shuffle = BatchShuffle(3, x.device)
    assert torch.equal(shuffle.shuffle(x), x)
    assert torch.equal(shuffle.unshuffle(x), x)
