"""Instance head: any number of objects per image, each with a mask."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visiontasks.losses import DetectionLoss, Loss
from visiontasks.losses.instances import Instances, mask_loss
from visiontasks.losses.locations import Locations
from visiontasks.models.heads.detection import ClosedFormPart, DetectionHead
from visiontasks.targets.candidates import CANDIDATES

LEAST = -1e4  # logit of no object


class InstanceHead(DetectionHead):
    """`DetectionHead` whose masks are sums of prototypes, with coefficients of each location (Bolya et al. 2019).

    The prototypes have a stride of 4 and come from the finest map of the pyramid.

    Args:
        strides: Strides of the pyramid, each twice the one before.
        width: Channels of the pyramid and the towers.
        depth: Convolutions of a tower.
        closed_form: What the closed form solves: the `classes` alone, or the `boxes` too.
        loss: Loss of objects, without their masks.
        prototypes: Number of prototypes.
        mask_weight: Weight of the loss of the masks; that of objects has 1.
    """

    def __init__(
        self,
        channels: list[int],
        num_classes: int,
        strides: list[int] = [8, 16, 32],  # noqa: B006 - never changed, and jsonargparse shows it
        width: int = 64,
        depth: int = 2,
        closed_form: ClosedFormPart = "boxes",
        loss: Loss = DetectionLoss(),
        prototypes: int = 16,
        mask_weight: float = 2.0,
    ) -> None:
        super().__init__(channels, num_classes, strides, width, depth, closed_form, loss)
        self.mask_weight = mask_weight
        self.coefficients = nn.Conv2d(width, prototypes, 3, padding=1)
        self.branch = nn.Sequential(*_layer(width, width), *_layer(width, width // 2))
        self.prototypes = nn.Sequential(*_layer(width // 2, width // 2), nn.Conv2d(width // 2, prototypes, 1))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Computes packed `Instances`, float (B, rows, columns)."""
        return self._instances(features).pack()

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        parts = Instances.unpack(output.float())
        criterion: Any = self.criterion
        found = Locations.of(parts.found)
        assigned = criterion.assignment(found, target)
        return criterion.terms(found, assigned, target) + self.mask_weight * mask_loss(parts, assigned, target)

    def predict(self, features: list[Tensor]) -> Tensor:
        return self._candidates(self._instances(features))  # unpacking depends on values, which no graph can hold

    def postprocess(self, output: Tensor) -> Tensor:
        """Computes the thresholds and the best 300 candidates, float (B, 301, 4 + classes + h w)."""
        return self._candidates(Instances.unpack(output.float()))

    def _instances(self, features: list[Tensor]) -> Instances:
        levels, towers, found = self.locate(features)
        coefficients = [self.coefficients(tower).float().flatten(2).transpose(1, 2) for tower in towers]
        side = features[2].shape[-2:]  # of stride 4, as the masks of a batch
        fine = F.interpolate(self.branch(levels[0]), side, mode="bilinear", align_corners=False)
        return Instances(found, torch.cat(coefficients, 1), self.prototypes(fine).float())

    def located(self, output: Tensor) -> Locations:
        return Locations.of(Instances.unpack(output).found)

    def _candidates(self, parts: Instances) -> Tensor:
        # filled up with scores of 0, so that a graph for any size always has that many
        found, weights = (F.pad(part, (0, 0, 0, CANDIDATES), value=LEAST) for part in parts[:2])
        best = Locations.of(found).logits.amax(2).topk(CANDIDATES).indices[..., None]
        chosen = found.gather(1, best.expand(-1, -1, found.shape[2]))
        masks = weights.gather(1, best.expand(-1, -1, weights.shape[2])) @ parts.prototypes.flatten(2)
        rows = torch.cat([super().postprocess(chosen), F.pad(masks, (0, 0, 1, 0))], 2)
        cells = torch.ones_like(parts.prototypes[0, 0])
        side = torch.stack([cells[:, 0].sum(), cells[0].sum()])  # computed, so that it is not a constant of a graph
        first = torch.cat([side.expand(rows.shape[0], 1, 2), rows[:, :1, 2:]], 2)
        return torch.cat([first, rows[:, 1:]], 1)


def _layer(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
