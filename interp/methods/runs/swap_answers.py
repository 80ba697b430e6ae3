"""Is the answer after a swap the best one? As a metric for a sweep, and as a loss for a fit."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.methods.runs.metrics import _one_length_only, part_of
from interp.tasks.metrics import Metric
from interp.tasks.pairs import SWAP_EXAMPLE
from interp.tasks.task import MixedTask, Task

NEVER = float("-inf")


@dataclass(frozen=True)
class SwapAnswers:
    """The tokens that are compared: those after the swap, and their rivals.

    Attributes:
        ids: The answers after the swap, the answers, and the wrong answers.
        good: Which are right after the swap.
        rival: Which are not, and stand against them. Where a prompt has none (its answer stays what
            it was, and there are no wrong ones) all other tokens are.
    """

    ids: Int[Tensor, "batch k"]
    good: Bool[Tensor, "batch k"]
    rival: Bool[Tensor, "batch k"]

    @property
    def columns_only(self) -> bool:
        """Whether a few columns of the logits are enough."""
        return bool(self.rival.any(-1).all())

    def __getitem__(self, at: Tensor) -> "SwapAnswers":
        return SwapAnswers(self.ids[at], self.good[at], self.rival[at])

    def right(
        self, few: Float[Tensor, "*row batch k"], top: Float[Tensor, "*row batch"] | None = None
    ) -> Float[Tensor, "*row batch"]:
        """1 where an answer after the swap is above every rival, or `top` (the largest logit of
        all) where there is none.
        """
        good, rival = self.good.to(few.device), self.rival.to(few.device)
        best = few.masked_fill(~good, NEVER).amax(-1)
        above = best > few.masked_fill(~rival, NEVER).amax(-1)
        if top is not None:
            above = torch.where(rival.any(-1), above, best >= top)
        return above.float()

    def loss(
        self, few: Float[Tensor, "*row batch k"], every: Float[Tensor, "*row batch"] | None = None
    ) -> Float[Tensor, "*row batch"]:
        """Minus the log-probability of the answers after the swap, in nats: among the tokens
        compared, or of all (`every`, the logsumexp of the logits) where there is no rival.
        """
        good, rival = self.good.to(few.device), self.rival.to(few.device)
        wanted = few.masked_fill(~good, NEVER).logsumexp(-1)
        compared = few.masked_fill(~(good | rival), NEVER).logsumexp(-1)
        if every is not None:
            compared = torch.where(rival.any(-1), compared, every)
        return compared - wanted

    def at_random(self, seed: int) -> "SwapAnswers":
        """The same tokens, with one of each prompt's drawn to be the right one."""
        g = torch.Generator().manual_seed(seed)
        good = torch.zeros_like(self.good)
        for i, (ids, there) in enumerate(zip(self.ids, self.good | self.rival)):
            tokens = ids[there].unique()
            drawn = tokens[int(torch.randint(len(tokens), (1,), generator=g))]
            good[i] = there & (ids == drawn)
        return replace(self, good=good, rival=(self.good | self.rival) & ~good)


def swap_answers(task: Task) -> SwapAnswers:
    """What is compared on the prompts of a task of one length.

    Raises:
        ValueError: If the task does not say what the answers are after a swap.
    """
    check_swap(task)
    after, count = task.swap_answers, task.swap_answers_count
    given = torch.cat([task.answers, task.wrong], -1)
    counts = torch.cat([task.answers_count, task.wrong_count], -1)
    stays = ((given[:, :, None] == after[:, None]) & count[:, None]).any(-1)
    none = torch.zeros_like
    return SwapAnswers(
        torch.cat([after, given], -1),
        torch.cat([count, none(counts)], -1),
        torch.cat([none(count), counts & ~stays], -1),
    )


def check_swap(task: Task) -> None:
    """Nothing, or a ValueError where the task does not say what the answers are after a swap."""
    if not task.has_swap_answers:
        raise ValueError(
            f"the task {task.name!r} does not say what the answers are after an interchange: "
            f"{SWAP_EXAMPLE}, or interp.tasks.ioi(model), whose prompts have them"
        )


def swap_accuracy(task: Task) -> Metric:
    """Metric: 1 where the answer after the swap is above every other answer, otherwise 0.

    The others are the task's answers and wrong answers. Where a prompt has no other (its answer
    stays the same, and it has no wrong ones) the answer after the swap must be on top of all
    tokens.

    Example:
        >>> interp.interchange(model, task, "resid_post.*@END")      # uses it
        >>> patch(model, task, "L*H*@END", direction="noising", metric=swap_accuracy(task))

    Args:
        task: The task that is measured, with `swap_answers`.

    Returns:
        A Metric in shares of prompts; its mean over interchanges is the interchange accuracy.

    Raises:
        ValueError: If the task has no answers after a swap.

    Reference:
        Geiger et al. 2021 (arXiv 2106.02997), interchange intervention accuracy.
    """
    check_swap(task)
    name, unit = "interchange accuracy", "share of prompts"

    def of_some(index: Tensor) -> Metric:
        return swap_accuracy(part_of(task, index))

    if isinstance(task, MixedTask):
        return Metric(name, unit, _one_length_only, part=of_some)
    compared = swap_answers(task)

    def of(logits: Tensor, kept: Mapping[str, Tensor]) -> Tensor:
        few = logits.float().gather(-1, compared.ids.to(logits.device))
        return compared.right(few, logits.float().amax(-1))

    few = compared.columns_only
    return Metric(
        name,
        unit,
        of,
        columns=compared.ids if few else None,
        of_columns=compared.right if few else None,
        part=of_some,
    )
