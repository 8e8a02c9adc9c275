"""Matched cells are drawn where they are and judged by geometry."""

import numpy as np
import torch

from dense_ssl.visualization import correct_matches, draw_correspondence
from dense_ssl.visualization.correspondence import RIGHT, UNKNOWN, WRONG, tensor_to_image


def has_colour(picture, colour):
    return (picture == np.array(colour, np.uint8)).all(-1).any()


def views(side=24):
    return np.full((side, side, 3), 128, np.uint8)


def test_tensor_to_image_undoes_the_normalisation():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    mean, std = [120.0, 110.0, 100.0], [50.0, 60.0, 70.0]
    view = (torch.tensor(pixels).float() - torch.tensor(mean)) / torch.tensor(std)
    assert np.array_equal(tensor_to_image(view.permute(2, 0, 1), mean, std), pixels)


def test_correct_matches_with_a_shifted_view():
    """View b lies one cell to the right of view a in the source image."""
    boxes_a = torch.tensor([[0.0, 0.0, 0.8, 0.8]])
    boxes_b = boxes_a + torch.tensor([0.2, 0.0, 0.2, 0.0])
    size = (4, 4)
    index = torch.tensor([[max(4 * r + c - 1, 4 * r) for r in range(4) for c in range(4)]])
    right, possible = correct_matches(index, boxes_a, boxes_b, size, size)
    overlap = torch.tensor([[c > 0 for _ in range(4) for c in range(4)]])
    assert torch.equal(possible, overlap)
    assert torch.equal(right, overlap)
    right, _ = correct_matches(index.flip(1), boxes_a, boxes_b, size, size)
    assert not right[0, 1:4].any()


def test_correct_matches_follow_a_flip():
    box = torch.tensor([[0.0, 0.0, 1.0, 0.3]])
    flipped = torch.tensor([[1.0, 0.0, 0.0, 0.3]])
    index = torch.tensor([[2, 1, 0]])
    right, possible = correct_matches(index, box, flipped, (1, 3), (1, 3))
    assert right.all() and possible.all()
    right, _ = correct_matches(index, box, box, (1, 3), (1, 3))
    assert right.tolist() == [[False, True, False]]


def test_lines_are_coloured_by_truth():
    features = torch.eye(9).reshape(9, 3, 3)  # each cell like itself only
    box = torch.tensor([0.0, 0.0, 1.0, 1.0])
    flipped = torch.tensor([1.0, 0.0, 0.0, 1.0])
    same = draw_correspondence(views(), views(), features, features, (box, box), side=120)
    assert same.shape == (150, 256, 3)
    assert has_colour(same, RIGHT) and not has_colour(same, WRONG)
    wrong = draw_correspondence(views(), views(), features, features, (box, flipped), side=120)
    assert has_colour(wrong, WRONG)
    plain = draw_correspondence(views(), views(), features, features, side=120)
    assert has_colour(plain, UNKNOWN) and not has_colour(plain, RIGHT)


def test_lines_end_in_the_matched_cells():
    features = torch.zeros(2, 2, 2)
    features[0] = 1.0
    target = torch.zeros(2, 2, 2)
    target[1] = 1.0
    target[:, 1, 0] = torch.tensor([1.0, 0.0])  # the only similar cell
    picture = draw_correspondence(views(), views(), features, target, max_lines=1, side=100)
    ends = [(25, 25), (25 + 116, 75 + 25)]  # view b: 16 gap, 25 lower
    for x, y in ends:
        assert tuple(picture[y, x]) == UNKNOWN
    assert tuple(picture[75, 75]) != UNKNOWN


def test_views_without_overlap_draw_no_line():
    features = torch.eye(4).reshape(4, 2, 2)
    boxes = torch.tensor([0.0, 0.0, 0.2, 0.2]), torch.tensor([0.7, 0.7, 1.0, 1.0])
    picture = draw_correspondence(views(), views(), features, features, boxes)
    assert not has_colour(picture, RIGHT) and not has_colour(picture, WRONG)
