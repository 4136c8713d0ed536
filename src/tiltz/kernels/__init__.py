"""Reductions over many prompts and betas; nothing here knows what the rows mean."""

from tiltz.kernels.moments import (
    Columns,
    Progress,
    Reduced,
    blocks,
    log_ratios,
    reduce_groups,
    reward_spread,
)

__all__ = ["Columns", "Progress", "Reduced", "blocks", "log_ratios", "reduce_groups", "reward_spread"]
