"""What is said of numbers that tell of a run gone wrong."""

import re

import pytest

from dense_ssl.models.diagnostics import Watch

GOOD = dict(
    feature_std=0.8,
    feature_rank=80.0,
    cell_std=0.5,
    cell_rank=40.0,
    image_std=0.5,
    image_rank=20.0,
    gradient_norm=1.0,
    queue_share=0.5,
    queue_age=100.0,
    momentum=0.99,
    positive_pairs=30.0,
    no_overlap=0.05,
    matched=1.0,
    data_wait=0.1,
)
BROKEN = {
    'features collapse: cell_std is 0.02, .* cell_rank is 6': dict(cell_std=0.02, cell_rank=6.0),
    'features collapse: .* cell_rank is 1.3': dict(cell_rank=1.3),
    'features collapse: .* feature_rank is 20': dict(feature_rank=20.0),
    'gradients explode': dict(gradient_norm=1e4),
    'gradients explode: their norm is nan': dict(gradient_norm=float('nan')),
    r'holds 2\.0 times as many keys': dict(queue_share=2.0),
    'replaced 20 times over': dict(queue_age=2000.0),
    'momentum is 0.5': dict(momentum=0.5, queue_age=None),
    '100% of the images give the same view twice': dict(same_views=1.0),
    'waits for data 70%': dict(data_wait=0.7),
    '80% are left without a positive': dict(no_overlap=0.8),
    'views hardly overlap': dict(positive_pairs=0.4),
    '95% are left': dict(matched=0.05, no_overlap=None),
}


def looks(*numbers):
    watch = Watch()
    return [text for each in numbers for text in watch.look(each)]


def changed(change):
    return {k: v for k, v in {**GOOD, **change}.items() if v is not None}


def test_good_runs_are_left_alone():
    assert looks(GOOD, GOOD, changed(dict(data_wait=0.9)), *[GOOD] * 5) == []
    # as features of PixPro and DenseCL go in their first steps
    assert (
        looks(
            GOOD,
            changed(dict(cell_std=0.15, cell_rank=8.5, feature_rank=40.0, gradient_norm=0.1)),
            GOOD,
        )
        == []
    )


@pytest.mark.parametrize('message', BROKEN)
def test_each_cause_is_told_once(message):
    broken = changed(BROKEN[message])
    (text,) = looks(GOOD, GOOD, GOOD, *[broken] * 4)
    assert re.search(message, text)


def test_several_causes():
    broken = changed(dict(no_overlap=0.9, image_rank=1.0, image_std=0.01))
    assert len(looks(GOOD, broken)) == 2


def test_numbers_that_a_method_lacks():
    assert looks({}, dict(loss=3.0), dict(gradient_norm=2.0)) == []
