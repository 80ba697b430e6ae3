"""The logistic classifier that probes share."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def fitted(
    z: Float[Tensor, "n d"], labels: Bool[Tensor, "n"]
) -> tuple[Float[Tensor, "d"], Float[Tensor, ""]]:
    """Weights and bias of a logistic probe with balanced classes: true where z @ w + b > 0."""
    middle, spread = z.mean(0), z.std(0) + 1e-6
    inputs, target = (z - middle) / spread, labels.float()
    share = target.mean()
    class_weights = torch.where(labels, 0.5 / share, 0.5 / (1 - share))
    w, b = torch.zeros(z.shape[1], requires_grad=True), torch.zeros((), requires_grad=True)
    optimiser = torch.optim.LBFGS([w, b], max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> Any:
        optimiser.zero_grad()
        cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(
            inputs @ w + b, target, weight=class_weights
        )
        value = cross_entropy + 1e-3 * w.pow(2).sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimiser.step(loss)
    with torch.no_grad():
        return w.detach() / spread, (b - (w * middle / spread).sum()).detach()
