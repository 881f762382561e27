"""Images that maximize the output of a unit."""

import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import gaussian_blur

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import height_width
from visiontasks.inspect.attack import check_label
from visiontasks.inspect.features import find_layer
from visiontasks.tasks import VisionTask


def maximize(
    task: VisionTask,
    unit: int,
    layer: str | None = None,
    softmax: bool = False,
    steps: int = 200,
    rate: float = 0.1,
    decay: float = 0.01,
    blur: float = 1.0,
    blur_every: int = 4,
    clip: float = 0.1,
    jitter: int = 8,
    seed: int = 0,
) -> Tensor:
    """Maximizes the output of a unit by gradient ascent from noise, with regularization toward natural images.

    The regularization is that of Yosinski et al. 2015, section 3 (decay, blur, and clipping pixels of small norm to
    zero) and jitter (Mordvintsev et al. 2015), which shifts the image by some pixels in each step.

    Args:
        task: A trained model; left in eval mode.
        unit: A class; or with `layer` a channel, whose unit in the center of the map is maximized.
        layer: Name of a layer; by default the class scores.
        softmax: Maximize the log-probability of a class in place of its logit.
        steps: Steps of gradient ascent, each normalized to a root mean square of `rate`.
        rate: Root mean square of a step, in quarters of the range of the pixels.
        decay: Share of the image that is lost in each step, 0..1.
        blur: Standard deviation of the blur in pixels; 0 for none.
        blur_every: Steps between two blurs.
        clip: Share of the pixels, those of the smallest norm, that is set to zero (gray) after a step, 0..1.
        jitter: Maximum shift of the image in pixels.
        seed: Seed of the noise and the shifts.

    Returns:
        uint8 (3, H, W), RGB.

    Raises:
        InputError: There is no such layer or unit, or without `layer` the model has no label head.
    """
    if layer is None:
        check_label(task, "maximize without --layer")
    name, module = ("the model", None) if layer is None else find_layer(task, layer)
    task.eval()
    random = torch.Generator().manual_seed(seed)
    image = 0.1 * torch.randn(1, 3, *height_width(task.spec["image_size"]), generator=random)
    image = image.to(next(task.parameters()).device).requires_grad_()
    for step in range(steps):
        moves = torch.randint(-jitter, jitter + 1, (2,), generator=random).tolist() if jitter else [0, 0]
        with torch.enable_grad():
            normalized = task.backbone.normalizer(_pixels(image).roll(moves, (2, 3)))
            scores = _scores(task, normalized, module, softmax)
            if not 0 <= unit < scores.shape[1]:
                raise InputError(f"unit {unit}: {name} has 0 to {scores.shape[1] - 1}.")
            (gradient,) = torch.autograd.grad(scores[0, unit], image)
        with torch.no_grad():
            image += rate * gradient / gradient.square().mean().sqrt().clamp(min=1e-12)
            image *= 1 - decay
            if blur and step % blur_every == 0 and step < steps - 1:
                image.copy_(gaussian_blur(image, [2 * int(3 * blur + 0.5) + 1] * 2, [blur] * 2))
            if clip:
                norm = image.norm(dim=1, keepdim=True)
                image *= norm > norm.flatten().quantile(clip)
    return (_pixels(image.detach())[0] * 255).round().clamp(0, 255).byte()


def _pixels(image: Tensor) -> Tensor:
    """Scales 0 to gray and 1 to a quarter of the range of pixels, the standard deviation of photos."""
    return 0.5 + image / 4


def _scores(task: VisionTask, images: Tensor, module: nn.Module | None, softmax: bool) -> Tensor:
    """Computes the output of each unit for normalized images, float (B, units); for a map, those in its center."""
    if module is None:
        logits = task(images)["label"]
        return logits.log_softmax(1) if softmax else logits
    kept: list[Tensor] = []
    with module.register_forward_hook(lambda module, args, output: kept.append(output)):
        task(images)
    return kept[0] if kept[0].ndim == 2 else kept[0][:, :, kept[0].shape[2] // 2, kept[0].shape[3] // 2]
