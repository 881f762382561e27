"""Every layer of a network: what comes out of it, what it costs, and how much of the image it sees."""

from collections.abc import Sequence
from math import inf, prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakTensorKeyDictionary

from visiontasks.core.compat import dispatch_mode, tree_leaves

aten = torch.ops.aten


class Layer(NamedTuple):
    """One layer as it was called.

    Attributes:
        name: Its place in the model.
        kind: Name of its class.
        output: Shape of what comes out for one image; empty for weights that no layer of their own applies.
        weights: Number of its own weights; 0 where it is called again.
        multiplications: Of one image.
        memory: Bytes of its output for one image.
        field: Height and width in pixels of what a unit sees of the image, or beyond its border; infinite for
            attention, which sees all.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    weights: int
    multiplications: int
    memory: int
    field: tuple[float, float]


class Seen(NamedTuple):
    """How many pixels a unit of a tensor sees, and by how many its neighbor's differ: each by height and width."""

    field: tuple[float, float] = (1, 1)
    step: tuple[float, float] = (1, 1)

    def over(self, kernel: Sequence[float], stride: Sequence[float] = (1, 1)) -> "Seen":
        """After a window of so many units, moved by so many."""
        field = tuple(f + (k - 1) * s for f, k, s in zip(self.field, kernel, self.step, strict=True))
        step = tuple(s * by for s, by in zip(self.step, stride, strict=True))
        return Seen((field[0], field[1]), (step[0], step[1]))


def layers(model: nn.Module, images: Tensor) -> list[Layer]:
    """Runs a model on one image and looks at each layer on the way.

    Receptive fields follow from kernels, strides and dilations (Araujo, Norris and Sim 2019, eq. 2), operation by
    operation, so that branches, skips and attention are counted as they run.

    Args:
        model: A task, a backbone or any module of images.
        images: What it takes: (1, 3, H, W).

    Returns:
        The layers in the order of their calls, with those that multiply or hold weights outside of any layer.
    """
    found: list[Layer] = []
    names = {module: name for name, module in model.named_modules()}
    counted: set[nn.Parameter] = set()
    watch = _Watch()
    stack: list[int] = []  # multiplications of each module that is being called, without those of its parts

    def own_weights(module: nn.Module) -> int:
        new = set(module.parameters(recurse=False)) - counted
        counted.update(new)
        return sum(parameter.numel() for parameter in new)

    def before(module: nn.Module, args: Any) -> None:
        if stack:
            stack[-1] += watch.take()
        stack.append(0)

    def after(module: nn.Module, args: Any, output: Any) -> None:
        multiplications = stack.pop() + watch.take()
        weights = own_weights(module)
        (tensor, *_) = [value for value in tree_leaves(output) if isinstance(value, Tensor)] or [None]
        is_layer = not (list(module.children()) or isinstance(module, nn.Identity | nn.Sequential))
        if tensor is not None and (is_layer or weights or multiplications):
            memory, seen = tensor.numel() * tensor.element_size(), watch.seen.get(tensor, Seen())
            shape = tuple(tensor.shape[1:])
            found.append(
                Layer(names[module], type(module).__name__, shape, weights, multiplications, memory, seen.field)
            )

    handles = [module.register_forward_pre_hook(before) for module in names]
    handles += [module.register_forward_hook(after) for module in names]
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), watch:
            watch.seen[images] = Seen()
            model(images)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    for module, name in names.items():
        if weights := own_weights(module):
            found.append(Layer(name, type(module).__name__, (), weights, 0, 0, (inf, inf)))
    return found


class _Watch(dispatch_mode()):
    """Sees each operation: counts multiplications, and follows what the units of each tensor see."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Any = WeakTensorKeyDictionary()
        self.multiplications = 0

    def take(self) -> int:
        """The multiplications since it was last asked."""
        count, self.multiplications = self.multiplications, 0
        return count

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if packet in flop_registry:  # which counts a multiplication and an addition
            self.multiplications += flop_registry[packet](*args, **(kwargs or {}), out_val=output) // 2
        known = [self.seen[value] for value in tree_leaves(args) if isinstance(value, Tensor) and value in self.seen]
        if known:
            fields, steps = (tuple(map(max, zip(*(seen[part] for seen in known), strict=True))) for part in (0, 1))
            after = _after(packet, Seen(fields, steps), args, output)
            for value in tree_leaves(output):
                if isinstance(value, Tensor):
                    self.seen[value] = after
        return output


def _after(packet: Any, seen: Seen, args: Any, output: Any) -> Seen:
    """What the output of an operation sees, from the most that its inputs see."""
    x = args[0]
    if packet is aten.convolution:
        weight, _, stride, _, dilation, transposed = args[1:7]
        kernel = [(size - 1) * by + 1 for size, by in zip(weight.shape[2:], dilation, strict=True)]
        if transposed:
            return seen.over([-(-k // s) for k, s in zip(kernel, stride, strict=True)], [1 / s for s in stride])
        return seen.over(kernel, stride)
    if packet in (aten.max_pool2d_with_indices, aten.avg_pool2d):
        kernel = _pair(args[1])
        stride = _pair(args[2]) if len(args) > 2 and args[2] else kernel
        dilation = _pair(args[4]) if packet is aten.max_pool2d_with_indices and len(args) > 4 else [1, 1]
        return seen.over([(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)], stride)
    if packet in (aten._adaptive_avg_pool2d, aten.adaptive_max_pool2d):
        sides = list(zip(x.shape[-2:], _pair(args[1]), strict=True))
        return seen.over(
            [max(-(-(i + 1) * n // m) - i * n // m for i in range(m)) for n, m in sides], [n / m for n, m in sides]
        )
    if packet in (aten.mean, aten.amax, aten.sum) and x.ndim == 4 and len(args) > 1:
        reduced = {axis % 4 for axis in _listed(args[1])}
        return seen.over([x.shape[axis] if axis in reduced else 1 for axis in (2, 3)])
    if packet in (aten.upsample_bilinear2d, aten.upsample_nearest2d):
        small = [a / b for a, b in zip(x.shape[-2:], output.shape[-2:], strict=True)]
        return seen.over((2, 2) if packet is aten.upsample_bilinear2d else (1, 1), small)
    if packet in (aten.view, aten._unsafe_view) and x.ndim == 4 and output.shape == (len(x), prod(x.shape[1:])):
        return seen.over(x.shape[2:])  # flattened: the next layer sees every place
    if packet is aten.bmm or "scaled_dot_product" in str(packet):
        return Seen((inf, inf), seen.step)
    return seen


def _pair(value: Any) -> list[int]:
    values = _listed(value)
    return values * 2 if len(values) == 1 else values


def _listed(value: Any) -> list[int]:
    return [value] if isinstance(value, int) else list(value)
