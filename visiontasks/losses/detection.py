"""Loss of a detector."""

from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou_loss

from visiontasks.losses.assignment import ATSS, Assigned, Assignment
from visiontasks.losses.base import Loss
from visiontasks.losses.locations import Locations, in_crowd


class DetectionLoss(Loss):
    """Quality focal loss of the scores plus GIoU loss of the boxes (Li et al. 2020, section 3.3).

    The target of a score is the quality of the location for its object (see `Assigned`), and 0 for other classes and
    background. Background in a crowd does not count. Both sums are divided by the number of assigned locations.

    Args:
        assignment: Chooses the locations that learn each object.
        beta: Exponent of the distance of score and target, which weights the cross-entropy.
        box_weight: Weight of the GIoU loss.

    Shape:
        output float (B, L, 8 + classes), see `Locations`; target float (B, M, 6 or more); result ().
    """

    kind = "objects"

    def __init__(self, assignment: Assignment = ATSS(), beta: float = 2.0, box_weight: float = 2.0) -> None:
        super().__init__()
        self.assignment, self.beta, self.box_weight = assignment, beta, box_weight

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Computes the loss of a batch."""
        found = Locations.of(output.float())
        return self.terms(found, self.assignment(found, target), target)

    def terms(self, found: Locations, assigned: Assigned, target: Tensor) -> Tensor:
        """Computes the loss of assigned locations."""
        index, quality = assigned
        taken = index >= 0
        rows = target.gather(1, index.clamp(min=0)[..., None].expand(-1, -1, 6))
        wanted = F.one_hot(rows[..., 4].long().clamp(min=0), found.logits.shape[-1]) * (quality * taken)[..., None]
        terms = F.binary_cross_entropy_with_logits(found.logits, wanted, reduction="none")
        terms = terms * (found.logits.sigmoid() - wanted).abs() ** self.beta
        terms = terms * (taken | ~in_crowd(found.centers, target))[..., None]
        boxes = generalized_box_iou_loss(found.boxes[taken], rows[..., :4][taken], reduction="sum")
        return (terms.sum() + self.box_weight * boxes) / taken.sum().clamp(min=1)
