"""The output of a detector that also predicts a mask for each object, and the loss of these masks."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from visiontasks.core.errors import InputError
from visiontasks.losses.assignment import Assigned


class Instances(NamedTuple):
    """The output of a head of masks: locations, each with the coefficients of its mask.

    Attributes:
        found: Float (B, L, 8 + classes); see `Locations`.
        coefficients: Float (B, L, P).
        prototypes: Float (B, P, h, w).
    """

    found: Tensor
    coefficients: Tensor
    prototypes: Tensor

    def pack(self) -> Tensor:
        """Joins all parts to one tensor, (B, rows, columns): locations, prototypes, and a row with their shapes."""
        rows = torch.cat([self.found, self.coefficients], 2)
        count, columns = rows.shape[1:]
        images, number, height, width = self.prototypes.shape
        flat = self.prototypes.flatten(1)
        flat = F.pad(flat, (0, -flat.shape[1] % columns)).unflatten(1, (-1, columns))
        shapes = F.pad(flat.new_tensor([count, number, height, width]), (0, columns - 4))
        return torch.cat([rows, flat, shapes.expand(images, 1, columns)], 1)

    @classmethod
    def unpack(cls, packed: Tensor) -> "Instances":
        """Splits the result of `pack`."""
        count, number, height, width = (int(value) for value in packed[0, -1, :4])
        rows, flat = packed[:, :count], packed[:, count:-1].flatten(1)[:, : number * height * width]
        return cls(rows[..., :-number], rows[..., -number:], flat.unflatten(1, (number, height, width)))


def mask_loss(parts: Instances, assigned: Assigned, target: Tensor) -> Tensor:
    """Computes the mean of cross-entropy and dice loss, added, over the assigned locations.

    A mask is the sigmoid of the prototypes weighted by the location's coefficients, inside the true box; the
    cross-entropy is its mean there (Bolya et al. 2019, sections 3.1 and 3.3). The dice loss has squares in the
    denominator (Milletari et al. 2016, section 3).

    Args:
        parts: The output.
        assigned: The object of each location.
        target: A batch of `ObjectsTarget` with masks, float (B, M, 6 + h w).

    Returns:
        Float scalar; 0 with a zero gradient without an assigned location.

    Raises:
        InputError: The objects have no masks.
    """
    height, width = parts.prototypes.shape[-2:]
    y, x = ((torch.arange(side, device=target.device) + 0.5) / side for side in (height, width))
    total = parts.coefficients.sum() * 0
    if target.shape[2] == 6:
        if (assigned.index >= 0).any():
            raise InputError(
                "InstanceHead: the objects have no masks. Set `masks: true` in the dataset, if it has them."
            )
        return total
    for image, prototypes in enumerate(parts.prototypes):
        taken = assigned.index[image] >= 0
        rows = target[image, assigned.index[image, taken]]
        low, high = rows[:, :2, None], rows[:, 2:4, None]
        within = [(place >= low[:, axis]) & (place <= high[:, axis]) for axis, place in enumerate((x, y))]
        inside = (within[1][:, :, None] & within[0][:, None]).flatten(1)
        logits = parts.coefficients[image, taken] @ prototypes.flatten(1)
        found, wanted = logits.sigmoid() * inside, rows[:, 6:] * inside
        entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none") * inside
        shared = 2 * (found * wanted).sum(1) + 1e-4
        dice = 1 - shared / (found.square().sum(1) + wanted.square().sum(1) + 1e-4)
        total = total + (dice + entropy.sum(1) / inside.sum(1).clamp(min=1)).sum()
    return total / (assigned.index >= 0).sum().clamp(min=1)
