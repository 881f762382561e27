"""The end of a fit whose numbers are no longer finite."""

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn

from visiontasks.callbacks.checkpoints import checkpoints_of
from visiontasks.core.compat import tree_leaves
from visiontasks.core.errors import InputError


class FiniteCheck(Callback):
    """Ends a fit with an `InputError` if a loss, a gradient or a weight is NaN or infinite.

    The error names the step, the layer and the images. No checkpoint is written then, so the last one is good. On a GPU
    a step is checked during the next one, so as not to wait for it.
    """

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.unchecked: list[tuple[int, Any, Tensor]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.batch = batch

    def on_before_backward(self, trainer: Trainer, pl_module: Any, loss: Tensor) -> None:
        self.loss = loss.detach()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        values = [self.loss]
        if getattr(trainer.precision_plugin, "scaler", None) is None:  # it skips a step whose gradients overflow
            values += [parameter.grad for parameter in pl_module.parameters() if parameter.grad is not None]
        self.unchecked.append((trainer.global_step + 1, self.batch, torch.nn.utils.get_total_norm(values)))
        while len(self.unchecked) > (self.loss.device.type == "cuda"):
            self._check_step(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        loss = trainer.callback_metrics.get("val/loss")
        if trainer.state.fn == "fit" and loss is not None and not loss.isfinite():
            self._fail(trainer, pl_module, f"val/loss is {loss:.0f}", trainer.global_step)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["state_dict"].items()
        if bad := next((name for name, tensor in state if not _is_finite(tensor)), None):
            self._fail(trainer, pl_module, f"{bad} has values that are not finite", trainer.global_step)

    def _check_step(self, trainer: Trainer, task: Any) -> None:
        step, batch, norm = self.unchecked.pop(0)
        if norm.isfinite():
            return
        names = [name for name, parameter in task.named_parameters() if not _is_finite(parameter.grad)]
        # the backward pass begins with the last layer
        found = f"the gradient of {names[-1]} is not finite" if names else "the loss is not finite"
        if trainer.world_size == 1 and (layer := first_bad_layer(task, batch)):
            found = f"the output of {layer} is not finite"
        data = trainer.datamodule.dataset("train")  # ty: ignore[missing-attribute]
        images = [data.name(index) for index in batch["index"].tolist()]
        more = f" and {len(images) - 3} more" if len(images) > 3 else ""
        self._fail(trainer, task, f"{found}; the batch holds {', '.join(images[:3])}{more}", step)

    def _fail(self, trainer: Trainer, task: Any, found: str, step: int) -> None:
        kept = checkpoints_of(trainer)
        good = f" The last good checkpoint is {kept.last}." if kept and kept.last.is_file() else ""
        raise InputError(
            f"Training diverged at step {step} (epoch {trainer.current_epoch + 1}): {found}.{good} Try a lower "
            "--model.optimizer.lr, --trainer.gradient_clip_val 1, or --trainer.precision 32-true."
        )


@torch.no_grad()
def first_bad_layer(task: nn.Module, batch: Any) -> str | None:
    """Returns the name of the first layer whose output for a batch is not finite, if there is one."""
    found: list[str] = []

    def watch(name: str) -> Any:
        def check(module: nn.Module, inputs: Any, output: Any) -> None:
            if not all(_is_finite(leaf) for leaf in tree_leaves(output)):
                found.append(name)

        return check

    hooks = [module.register_forward_hook(watch(name)) for name, module in task.named_modules() if name]
    try:
        task(batch["image"])
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None  # a layer ends before the block around it


def _is_finite(value: Any) -> bool:
    return not isinstance(value, Tensor) or not value.is_floating_point() or bool(value.isfinite().all())
