"""From a model, a reward and prompts to rollouts on disk, finished shard by finished shard."""

from tiltz.rollouts.drawing.prompts import read_prompts
from tiltz.rollouts.drawing.run import Progress, RolloutRun, WidthRun, rollout
from tiltz.rollouts.drawing.stopping import UntilNarrow

__all__ = ["Progress", "RolloutRun", "UntilNarrow", "WidthRun", "read_prompts", "rollout"]
