"""From a model, a reward and prompts to rollouts on disk, finished shard by finished shard."""

from tiltz.rollouts.drawing.prompts import read_prompts
from tiltz.rollouts.drawing.run import Progress, RolloutRun, rollout

__all__ = ["Progress", "RolloutRun", "read_prompts", "rollout"]
