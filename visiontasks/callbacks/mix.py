"""Mixup and CutMix."""

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from visiontasks.core.errors import InputError
from visiontasks.tasks.base import step_seed


class Mix(Callback):
    """Trains a classifier on mixtures of two images (torchvision's MixUp and CutMix).

    The images are mixed after the normalization of the backbone. Only the loss sees the mixed labels; the training
    accuracy compares the mixed images with the label of the first one. Seed, step and rank determine the draws.

    Args:
        mixup: Alpha of the beta distribution of mixup (Zhang et al. 2018, section 2); 0 for no mixup.
        cutmix: The same of CutMix (Yun et al. 2019, section 3.1). With both, one is drawn in each step.
        p: Share of the steps with mixed images, 0..1.
    """

    def __init__(self, mixup: float = 0.2, cutmix: float = 1.0, p: float = 1.0) -> None:
        if mixup < 0 or cutmix < 0 or not (mixup or cutmix):
            raise InputError(f"Mix: mixup={mixup} and cutmix={cutmix} must not be negative, and one must be positive.")
        self.mixup, self.cutmix, self.p = mixup, cutmix, p

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        from torchvision.transforms import v2

        if list(pl_module.heads) != ["label"]:
            raise InputError(f"Mix is for classification only; this task predicts {', '.join(pl_module.heads)}.")
        count, kinds = len(pl_module.spec["class_names"]), ((v2.MixUp, self.mixup), (v2.CutMix, self.cutmix))
        self.transforms = [kind(alpha=alpha, num_classes=count) for kind, alpha in kinds if alpha]

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(step_seed(trainer, salt=1))
            if torch.rand(()) >= self.p:
                return
            transform = self.transforms[int(torch.randint(len(self.transforms), ()))]
            images = pl_module.backbone.normalize(batch["image"])
            batch["image"], batch["mixed_label"] = transform(images, batch["label"])
