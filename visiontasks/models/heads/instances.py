"""Instance head: any number of objects per image, each with a mask."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visiontasks.losses import InstanceLoss, Loss
from visiontasks.losses.instances import Instances
from visiontasks.losses.locations import Locations
from visiontasks.models.heads.detection import ClosedFormPart, DetectionHead
from visiontasks.targets.candidates import CANDIDATES


class InstanceHead(DetectionHead):
    """`DetectionHead` whose masks are sums of prototypes, with coefficients of each location (Bolya et al. 2019).

    The prototypes have a stride of 4 and come from the finest map of the pyramid.

    Args:
        strides: Strides of the pyramid, each twice the one before.
        width: Channels of the pyramid and the towers.
        depth: Convolutions of a tower.
        closed_form: What the closed form solves: the `classes`, or the `boxes` too.
        loss: Loss of objects with masks.
        prototypes: Number of prototypes.
    """

    def __init__(
        self,
        channels: list[int],
        num_classes: int,
        strides: list[int] = [8, 16, 32],  # noqa: B006 - never changed, and jsonargparse shows it
        width: int = 64,
        depth: int = 2,
        closed_form: ClosedFormPart = "classes",
        loss: Loss = InstanceLoss(),
        prototypes: int = 16,
    ) -> None:
        super().__init__(channels, num_classes, strides, width, depth, closed_form, loss)
        self.coefficients = nn.Conv2d(width, prototypes, 3, padding=1)
        self.branch = nn.Sequential(*_layer(width), *_layer(width))
        self.prototypes = nn.Sequential(*_layer(width), nn.Conv2d(width, prototypes, 1))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Computes packed `Instances`, float (B, rows, columns)."""
        levels, towers, found = self.locate(features)
        coefficients = [self.coefficients(tower).float().flatten(2).transpose(1, 2) for tower in towers]
        side = features[2].shape[-2:]  # of stride 4, as the masks of a batch
        fine = F.interpolate(self.branch(levels[0]), side, mode="bilinear", align_corners=False)
        return Instances(found, torch.cat(coefficients, 1), self.prototypes(fine).float()).pack()

    def located(self, output: Tensor) -> Locations:
        return Locations.of(Instances.unpack(output).found)

    def postprocess(self, output: Tensor) -> Tensor:
        """Computes the thresholds and the best 300 candidates, float (B, 301, 4 + classes + h w)."""
        parts = Instances.unpack(output.float())
        logits = Locations.of(parts.found).logits
        best = logits.amax(2).topk(min(CANDIDATES, logits.shape[1])).indices[..., None]
        chosen = parts.found.gather(1, best.expand(-1, -1, parts.found.shape[2]))
        weights = parts.coefficients.gather(1, best.expand(-1, -1, parts.coefficients.shape[2]))
        masks = weights @ parts.prototypes.flatten(2)
        rows = torch.cat([super().postprocess(chosen), F.pad(masks, (0, 0, 1, 0))], 2)
        rows[:, 0, :2] = rows.new_tensor(parts.prototypes.shape[-2:])
        return rows


def _layer(width: int) -> list[nn.Module]:
    return [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
