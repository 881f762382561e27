"""Detection: assignment, loss, head and closed form, against values computed by hand or by other code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_iou, generalized_box_iou_loss

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Frame
from visiontasks.core.objects import make_objects
from visiontasks.losses import ATSS, CrossEntropy, DetectionLoss, TaskAligned
from visiontasks.losses.instances import Instances, mask_loss
from visiontasks.losses.locations import Locations, pairwise_iou
from visiontasks.models import DetectionHead, InstanceHead
from visiontasks.models.location_ridge import FOLDS, NormalEquations
from visiontasks.models.necks import FeaturePyramid
from visiontasks.targets import find_target

HEIGHT, WIDTH = 64, 96
CHANNELS = [3, 4, 8, 8, 12, 16, 20]  # of strides 1, 2 ... 32, and of the final map


def features(count: int = 2, seed: int = 0) -> list[Tensor]:
    rng, strides = torch.Generator().manual_seed(seed), [1, 2, 4, 8, 16, 32, 32]
    sides = [(HEIGHT // stride, WIDTH // stride) for stride in strides]
    return [torch.randn(count, channels, *side, generator=rng) for channels, side in zip(CHANNELS, sides, strict=True)]


def batch(*images: list[list[float]]) -> Tensor:
    """Objects of images as rows of xmin, ymin, xmax, ymax in pixels, class and perhaps crowd."""
    columns = [([r[:4] for r in rows], [int(r[4]) for r in rows], [len(r) > 5 for r in rows]) for rows in images]
    values = [make_objects(*one) for one in columns]
    return torch.from_numpy(find_target("objects").collate(values, (HEIGHT, WIDTH), ["a", "b"]))


def locations(head: DetectionHead, count: int = 1) -> Locations:
    return Locations.of(head(features(count)).detach())


def test_locations_lie_in_the_middle_of_their_cells() -> None:
    found = locations(DetectionHead(CHANNELS, 2))
    assert found.logits.shape == (1, 8 * 12 + 4 * 6 + 2 * 3, 2)
    pixels = found.centers[0] * torch.tensor([WIDTH, HEIGHT])
    assert pixels[:2].tolist() == [[4, 4], [12, 4]]
    assert pixels[96].tolist() == [8, 8]
    assert pixels[-1].tolist() == [80, 48]
    assert (found.strides[0, -1] * torch.tensor([WIDTH, HEIGHT])).tolist() == [32, 32]


def test_a_new_head_predicts_anchors_with_scores_of_one_percent() -> None:
    found = locations(DetectionHead(CHANNELS, 2))
    sides = (found.boxes[0, :, 2:] - found.boxes[0, :, :2]) / found.strides[0]
    assert sides.median() == pytest.approx(8, rel=0.2)
    assert found.logits.sigmoid().mean() == pytest.approx(0.01, rel=0.1)


def atss_by_loops(found: Locations, boxes: Tensor, nearest: int) -> list[set[int]]:
    """Algorithm 1 of Zhang et al. 2020, object by object: the chosen locations of each."""
    scale = torch.tensor([WIDTH, HEIGHT])
    centers, strides = found.centers[0] * scale, found.strides[0] * scale
    anchors = torch.cat([centers - 4 * strides, centers + 4 * strides], 1)
    chosen = []
    for box in boxes:
        middle, candidates = (box[:2] + box[2:]) / 2, []
        for stride in (8, 16, 32):
            level = (strides[:, 0] == stride).nonzero().flatten()
            order = (centers[level] - middle).norm(dim=1).argsort()
            candidates += level[order[:nearest]].tolist()
        overlaps = box_iou(box[None], anchors[candidates])[0]
        limit = overlaps.mean() + overlaps.std()
        inside = [bool(((c > box[:2]) & (c < box[2:])).all()) for c in centers[candidates]]
        chosen.append({c for c, o, i in zip(candidates, overlaps, inside, strict=True) if o >= limit and i})
    return chosen


def test_atss_chooses_what_the_algorithm_says() -> None:
    found = locations(DetectionHead(CHANNELS, 2))
    boxes = torch.tensor([[3.0, 5, 40.3, 45.1], [50, 20, 92.7, 61.4]])  # no two locations are equally near
    index = ATSS(5)(found, batch([[*box.tolist(), 0] for box in boxes])).index[0]
    expected = atss_by_loops(found, boxes, 5)
    assert [set((index == number).nonzero().flatten().tolist()) for number in range(2)] == expected
    assert all(expected)


def test_every_object_keeps_a_location_however_small() -> None:
    found = locations(DetectionHead(CHANNELS, 2))
    small = [[10.0, 10, 13, 13, 0], [40, 40, 42, 42, 1], [70, 9, 72, 14, 0]]
    index = ATSS()(found, batch(small)).index[0]
    assert sorted(index[index >= 0].unique().tolist()) == [0, 1, 2]


def test_crowds_and_empty_rows_are_no_objects() -> None:
    found = locations(DetectionHead(CHANNELS, 2), 2)
    target = batch([[0, 0, 60, 60, 0], [10, 10, 50, 50, 1, 1]], [])
    for assignment in (ATSS(), TaskAligned()):
        index = assignment(found, target).index
        assert set(index[0].unique().tolist()) == {-1, 0}
        assert set(index[1].unique().tolist()) == {-1}


def test_quality_is_the_iou_of_the_predicted_box() -> None:
    found = locations(DetectionHead(CHANNELS, 2))
    target = batch([[3.0, 5, 41, 47, 0]])
    index, quality = ATSS()(found, target)
    overlaps = box_iou(found.boxes[0], target[0, :, :4])[:, 0]
    torch.testing.assert_close(quality[0], torch.where(index[0] >= 0, overlaps, 0))


def test_task_aligned_quality_reaches_the_best_iou_of_each_object() -> None:
    found = locations(DetectionHead(CHANNELS, 2))
    target = batch([[3.0, 5, 41, 47, 0], [50, 20, 93, 60, 1]])
    index, quality = TaskAligned(top=4)(found, target)
    for number in range(2):
        own = index[0] == number
        assert 1 <= own.sum() <= 4
        assert quality[0][own].max() <= box_iou(found.boxes[0], target[0, :, :4])[:, number].max() + 1e-6
    assert (quality[index < 0] == 0).all()


def test_pairwise_iou_equals_that_of_torchvision() -> None:
    rng = torch.Generator().manual_seed(0)
    boxes = torch.rand(2, 7, 2, generator=rng).repeat(1, 1, 2) + torch.tensor([0, 0, 0.3, 0.2])
    expected = torch.stack([box_iou(one, one) for one in boxes])
    torch.testing.assert_close(pairwise_iou(boxes, boxes), expected)


def test_loss_equals_its_formula() -> None:
    output, target = DetectionHead(CHANNELS, 2)(features(1)).detach(), batch([[3.0, 5, 41, 47, 1]])
    found = Locations.of(output)
    index, quality = ATSS()(found, target)
    taken = (index[0] >= 0).nonzero().flatten()
    total = 0.0
    for place, logits in enumerate(found.logits[0]):
        for label, logit in enumerate(logits):
            wanted = quality[0, place] if place in taken and label == 1 else torch.tensor(0.0)
            total += F.binary_cross_entropy_with_logits(logit, wanted) * (logit.sigmoid() - wanted).abs() ** 2
    boxes = generalized_box_iou_loss(found.boxes[0, taken], target[0, :1, :4].expand(len(taken), 4), reduction="sum")
    expected = (total + 2 * boxes) / len(taken)
    torch.testing.assert_close(DetectionLoss()(output, target), torch.as_tensor(expected))


def test_background_in_a_crowd_and_unknown_pictures_cost_nothing() -> None:
    output = DetectionHead(CHANNELS, 2)(features(2)).detach()
    loss, empty = DetectionLoss(), batch([], [])
    unknown = torch.from_numpy(find_target("objects").collate([None, None], (HEIGHT, WIDTH), ["a", "b"]))
    assert loss(output, empty) > 0
    assert loss(output, unknown) == 0
    part = batch([[0, 0, 40, 40, 1, 1]], [[0, 0, 40, 40, 1, 1]])
    assert 0 < loss(output, part) < loss(output, empty)


def test_gradients_are_finite_without_an_object() -> None:
    head = DetectionHead(CHANNELS, 2)
    head.loss(head(features(2)), batch([], [])).backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters() if p.grad is not None)


def test_loss_of_another_kind_is_refused() -> None:
    with pytest.raises(InputError, match=r"DetectionHead\.loss: CrossEntropy compares classes; use a loss of objects"):
        DetectionHead(CHANNELS, 2, loss=CrossEntropy())


def test_backbone_without_a_stride_is_refused() -> None:
    with pytest.raises(InputError, match="no map of stride 8"):
        DetectionHead([3, 0, 8, 0, 8, 8, 8], 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strides": [8, 32]}, r"strides=\[8, 32\] must double"),
        ({"strides": [6, 12]}, r"strides=\[6, 12\] must double"),
        ({"strides": []}, r"strides=\[\] must double"),
        ({"strides": [32, 64]}, "no map of stride 64"),
        ({"width": 20}, "width=20 must be a multiple of 8"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DetectionHead(CHANNELS, 2, **arguments)


def test_pyramid_adds_the_deeper_map() -> None:
    neck, maps = FeaturePyramid([8, 12], 4), [torch.randn(1, 8, 5, 6), torch.randn(1, 12, 3, 3)]
    deep = neck.lateral[1](maps[1])
    fine = neck.lateral[0](maps[0]) + F.interpolate(deep, (5, 6), mode="nearest")
    found = neck(maps)
    torch.testing.assert_close(found[0], neck.output[0](fine))
    torch.testing.assert_close(found[1], neck.output[1](deep))


def test_normal_equations_equal_ridge_on_all_rows() -> None:
    rng = np.random.default_rng(0)
    rows, wanted = rng.normal(size=(200, 6)), rng.normal(size=(200, 2))
    wanted += rows @ rng.normal(size=(6, 2)) + 3
    equations = NormalEquations(6, 2)
    for start in range(0, 200, 10):
        part = slice(start, start + 10)
        equations.add(start // 10 % FOLDS, torch.from_numpy(rows[part]), torch.from_numpy(wanted[part]))
    fit = equations.solve()
    x, y = rows - rows.mean(0), wanted - wanted.mean(0)
    penalty = fit.strength * np.linalg.eigvalsh(x.T @ x).mean()
    expected = np.linalg.solve(x.T @ x + penalty * np.eye(6), x.T @ y)
    np.testing.assert_allclose(fit.weight.numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(fit.bias.numpy(), wanted.mean(0) - rows.mean(0) @ expected, rtol=1e-6)


def test_closed_form_finds_a_class_that_is_linear_in_the_maps() -> None:
    """The first channel of the finest map is high at the objects: the solved head must find them, a new one cannot."""
    torch.manual_seed(0)
    head = DetectionHead(CHANNELS, 2, closed_form="boxes")
    solver, rng = head.solver(40), np.random.default_rng(0)
    images = []
    for number in range(40):
        maps = features(1, number)
        x, y, label = int(rng.integers(0, 8)), int(rng.integers(0, 4)), number % 2
        rows = [[8.0 * x, 8.0 * y, 8.0 * x + 40, 8.0 * y + 40, label]]
        index = ATSS()(locations(head), batch(rows)).index[0, :96].reshape(8, 12)
        maps[3][0, label][index >= 0] += 5
        images.append((maps, rows))
    for number, (maps, rows) in enumerate(images[:30]):
        solver.add(maps, batch(rows), torch.tensor([number]))
    before = [best_object(head, maps) for maps, _ in images[30:]]
    with torch.no_grad():
        solver.solve(lambda part: [part])
    after = [best_object(head, maps) for maps, _ in images[30:]]
    assert np.mean([shows(found, rows[0]) for found, (_, rows) in zip(after, images[30:], strict=True)]) >= 0.9
    assert np.mean([shows(found, rows[0]) for found, (_, rows) in zip(before, images[30:], strict=True)]) <= 0.6


def best_object(head: DetectionHead, maps: list[Tensor]) -> tuple[np.ndarray, int]:
    output = head.postprocess(head(maps))[0].detach().numpy()
    found = find_target("objects").prediction(output, Frame(HEIGHT, WIDTH, (HEIGHT, WIDTH)), ["a", "b"])["objects"]
    return found["boxes"][0], int(found["labels"][0])


def shows(found: tuple[np.ndarray, int], row: list[float]) -> bool:
    """Whether the middle of a predicted box lies in the object, and the class is right."""
    (x1, y1, x2, y2), label = found
    return label == row[4] and row[0] < (x1 + x2) / 2 < row[2] and row[1] < (y1 + y2) / 2 < row[3]


def with_mask() -> Tensor:
    """A batch of a picture with one object, that fills the left half of its box, and a picture without any."""
    mask = np.zeros((1, HEIGHT, WIDTH), bool)
    mask[0, 8:40, 16:40] = True
    values = [{**make_objects([[16, 8, 64, 40]], [1]), "masks": mask}, {**make_objects([], []), "masks": mask[:0]}]
    return torch.from_numpy(find_target("objects").collate(values, (HEIGHT, WIDTH), ["a", "b"]))


def test_packed_instances_are_the_same_when_unpacked() -> None:
    output = InstanceHead(CHANNELS, 2)(features(2))
    parts = Instances.unpack(output)
    assert parts.prototypes.shape == (2, 16, HEIGHT // 4, WIDTH // 4)
    assert parts.coefficients.shape == (2, 126, 16)
    torch.testing.assert_close(parts.pack(), output)
    assert parts.found.shape == DetectionHead(CHANNELS, 2)(features(2)).shape


def test_a_batch_has_the_covered_share_of_each_cell() -> None:
    cells = with_mask()[0, 0, 6:].reshape(HEIGHT // 4, WIDTH // 4)
    assert cells.sum() == 8 * 6
    assert cells[2:10, 4:10].min() == 1


def test_loss_of_a_mask_is_zero_for_the_true_one_and_large_for_its_opposite() -> None:
    target = with_mask()
    found = Instances.unpack(InstanceHead(CHANNELS, 2)(features(2)).detach())
    assigned = ATSS()(Locations.of(found.found), target)
    cells = target[:, 0, 6:].reshape(2, 1, HEIGHT // 4, WIDTH // 4)
    for sign, expected in ((1, 0.0), (-1, 1.0 + 20)):
        prototypes = sign * (2 * cells - 1) * 20
        parts = Instances(found.found, torch.ones(2, 126, 1), prototypes)
        assert mask_loss(parts, assigned, target) == pytest.approx(expected, abs=1e-3)


def test_the_loss_of_instances_has_that_of_their_masks() -> None:
    head, target = InstanceHead(CHANNELS, 2), with_mask()
    output = head(features(2))
    whole, plain = head.loss(output, target), DetectionLoss()(Instances.unpack(output).found, target)
    assert whole > plain + 0.5
    whole.backward()
    assert head.prototypes[0].weight.grad.abs().sum() > 0


def test_objects_without_masks_are_refused() -> None:
    head = InstanceHead(CHANNELS, 2)
    with pytest.raises(InputError, match=r"objects have no masks\. Set `masks: true`"):
        head.loss(head(features(1)), batch([[3.0, 5, 41, 47, 0]]))


def test_predicted_masks_lie_in_their_boxes_at_the_size_of_the_image() -> None:
    output = InstanceHead(CHANNELS, 2)
    rows = output.postprocess(output(features(1))).detach().numpy()[0]
    rows[1:, 6:] = 1  # every cell belongs to every object
    frame = Frame(2 * HEIGHT, 2 * WIDTH, (HEIGHT, WIDTH))
    found = find_target("objects").prediction(rows, frame, ["a", "b"])["objects"]
    assert found["masks"].shape == (len(found["labels"]), 2 * HEIGHT, 2 * WIDTH)
    for mask, box in zip(found["masks"], found["boxes"], strict=True):
        (left, top), (right, bottom) = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
        assert mask.sum() == mask[top:bottom, left:right].sum() == (bottom - top) * (right - left)


def test_flipped_views_of_instances_merge_to_the_same_objects() -> None:
    head, kind = InstanceHead(CHANNELS, 2), find_target("objects")
    rows = head.postprocess(head(features(1))).detach().numpy()
    flipped = rows.copy()
    flipped[:, 1:, [0, 2]] = 1 - flipped[:, 1:, [2, 0]]
    cells = flipped[:, 1:, 6:].reshape(1, -1, HEIGHT // 4, WIDTH // 4)
    flipped[:, 1:, 6:] = cells[..., ::-1].reshape(1, cells.shape[1], -1)
    merged, frame = kind.merge([rows, flipped], [(), (-1,)]), Frame(HEIGHT, WIDTH, (HEIGHT, WIDTH))
    one, other = (kind.prediction(output[0], frame, ["a", "b"])["objects"] for output in (rows, merged))
    assert len(one["labels"])
    for key in ("boxes", "scores"):
        np.testing.assert_allclose(other[key], one[key], rtol=1e-4, atol=1e-4)
    assert (other["masks"] == one["masks"]).mean() > 0.9999
