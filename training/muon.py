"""The Muon optimiser for stacks of small matrices, in single precision: fewer steps than AdamW needs."""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

NEWTON_SCHULZ = (3.4445, -4.775, 2.0315)
"""Coefficients of the odd polynomial that drives singular values towards 1."""


def orthogonal(matrices: Tensor, n_steps: int = 5) -> Tensor:
    """Return the nearest matrices with singular values of about 1.

    Parameters
    ----------
    matrices : Tensor, shape (n, rows, columns)
        Not of all zeros.
    n_steps : int
        Newton-Schulz iterations.

    Returns
    -------
    Tensor
        Of the same shape.

    References
    ----------
    .. [1] K. Jordan et al., *Muon: an optimizer for hidden layers in neural networks*, 2024.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrices.mT if matrices.shape[1] > matrices.shape[2] else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(n_steps):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if matrices.shape[1] > matrices.shape[2] else x


class Muon(torch.optim.Optimizer):
    """Steps of fixed spectral size along the momentum, for the weight matrices inside the layers.

    Parameters
    ----------
    parameters : iterable of Tensor
        Matrices.
    lr : float
        Size of a step.
    momentum : float
        Of Nesterov's kind.
    weight_decay : float
        Shrinks the weights by this times `lr` at each step.
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Change the weights, all matrices of one shape at once.

        Parameters
        ----------
        closure : None
            Not used.
        """
        for group in self.param_groups:
            by_shape = defaultdict(list)
            for weight in group["params"]:
                by_shape[weight.shape].append(weight)
            for shape, weights in by_shape.items():
                update = orthogonal(torch.stack([self.direction(w, group["momentum"]) for w in weights]))
                size = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                for weight, change in zip(weights, update, strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"]).sub_(size * change)

    def direction(self, weight: Tensor, momentum: float) -> Tensor:
        """Return the gradient blended with its running sum.

        Parameters
        ----------
        weight : Tensor
            With a gradient.
        momentum : float
            How slowly the running sum forgets.

        Returns
        -------
        Tensor
            Of the shape of `weight`.
        """
        running = self.state[weight].setdefault("running", torch.zeros_like(weight))
        running.lerp_(weight.grad, 1 - momentum)
        return torch.lerp(weight.grad, running, momentum)
