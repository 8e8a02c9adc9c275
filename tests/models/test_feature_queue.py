import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.logging import MMLogger
from mmengine.runner import load_state_dict
from torch import nn

from dense_ssl.models import FeatureQueue

from ..distributed import run_distributed


def plain_ring(start, batches):
    """One key at a time."""
    ring, pointer = start.clone(), 0
    for batch in batches:
        for key in batch:
            ring[pointer] = key
            pointer = (pointer + 1) % len(ring)
    return ring, pointer


@given(length=st.integers(1, 12), sizes=st.lists(st.integers(1, 30), max_size=6))
@settings(max_examples=60, deadline=None)
def test_wraps_at_any_batch_size(length, sizes):
    queue = FeatureQueue(length, 3)
    start = queue.features.clone()
    batches = [torch.randn(n, 3) for n in sizes]
    for batch in batches:
        queue.enqueue(batch)
    ring, pointer = plain_ring(start, batches)
    assert torch.equal(queue.features, ring)
    assert queue.pointer == pointer
    assert queue.filled == min(sum(sizes), length)
    assert int(queue.written) == sum(sizes)


def test_starts_with_unit_vectors():
    queue = FeatureQueue(50, 7)
    assert torch.allclose(queue.features.norm(dim=1), torch.ones(50))
    assert queue.filled == 0


def test_pointer_survives_a_checkpoint():
    queue, fresh = FeatureQueue(5, 2), FeatureQueue(5, 2)
    queue.enqueue(torch.randn(3, 2))
    fresh.load_state_dict(queue.state_dict())
    assert fresh.pointer == 3
    extra = torch.randn(4, 2)
    queue.enqueue(extra)
    fresh.enqueue(extra)
    assert torch.equal(queue.features, fresh.features)


def test_a_saved_queue_of_another_length_is_left_out(caplog):
    saved, queue = FeatureQueue(5, 2), FeatureQueue(3, 2)
    saved.enqueue(F.normalize(torch.randn(4, 2)))
    state = nn.ModuleDict(dict(queue=saved)).state_dict()
    for filled in (0, 3):
        queue.enqueue(F.normalize(torch.randn(filled, 2)))
        before = queue.features.clone()
        model = nn.ModuleDict(dict(queue=queue))
        model.load_state_dict(state)  # strict
        logger = MMLogger.get_instance('queue')
        with caplog.at_level('WARNING', logger='queue'):
            logger.addHandler(caplog.handler)
            load_state_dict(model, state, strict=False, logger=logger)
        assert not caplog.records
        assert len(queue) == 3 and torch.equal(queue.features, before)
        assert queue.filled == queue.pointer == int(queue.written) == 0


def test_a_saved_queue_of_another_width_is_refused():
    with pytest.raises(RuntimeError, match='size mismatch for features'):
        FeatureQueue(3, 2).load_state_dict(FeatureQueue(5, 4).state_dict())


def test_keys_carry_no_gradient():
    queue = FeatureQueue(4, 2)
    queue.enqueue(F.normalize(torch.randn(2, 2, requires_grad=True)))
    assert not queue.features.requires_grad


def test_refuses_an_empty_queue():
    with pytest.raises(ValueError, match='queue length 0'):
        FeatureQueue(0, 4)


def gathered(rank, world):
    torch.manual_seed(0)
    queue = FeatureQueue(7, 2)
    for step in range(3):
        queue.enqueue(torch.arange(4.0).view(2, 2) + 100 * step + 10 * rank)
    return queue.features.numpy(), queue.pointer


def test_processes_hold_the_same_queue():
    results = run_distributed(gathered)
    torch.manual_seed(0)
    queue = FeatureQueue(7, 2)
    for step in range(3):
        queue.enqueue(
            torch.cat([torch.arange(4.0).view(2, 2) + 100 * step + 10 * rank for rank in range(2)])
        )
    for features, pointer in results:
        assert torch.equal(torch.from_numpy(features), queue.features)
        assert pointer == queue.pointer == 5
