"""Train the policy: from the reference towards the reward by policy gradient, held back by a KL coefficient."""

import argparse
import time
from collections.abc import Iterator
from random import Random

import torch
from torch import Tensor
from transformers import LlamaForCausalLM, LlamaForSequenceClassification

import batches
import corpus
import folders
import rewards
import words

SEED = 41
BETA = 0.2
"""KL coefficient, reward per nat."""
N_STEPS = 75
N_PROMPTS = 20
N_SAMPLES = 8
"""Completions drawn for each prompt of a step."""
RATE = 5e-4

MODELLED = ("review", "story")
"""Kinds whose reward comes from the reward model."""

MODELLED_SHARE = 0.6
"""How many of their prompts are kept: their rewards are easier to raise than those that are right or wrong."""


@torch.no_grad()
def score(
    reward_model: LlamaForSequenceClassification,
    prompts: list[corpus.Prompt],
    prompt_ids: list[list[int]],
    completions: list[list[int]],
) -> Tensor:
    """Return the rewards that the policy is trained on.

    Parameters
    ----------
    reward_model : LlamaForSequenceClassification
        For reviews and stories.
    prompts : list of corpus.Prompt
        One for each completion.
    prompt_ids, completions : list of list of int
        Their tokens.

    Returns
    -------
    Tensor, shape (n,)
        True ones where there is a right answer, modelled ones elsewhere.
    """
    given = [
        0.0 if p.kind in MODELLED else rewards.true_reward(p.kind, batches.text(c), p.answer)
        for p, c in zip(prompts, completions, strict=True)
    ]
    result = torch.tensor(given)
    modelled = [i for i, prompt in enumerate(prompts) if prompt.kind in MODELLED]
    if modelled:
        result[modelled] = batches.modelled_rewards(
            reward_model, [prompt_ids[i] + completions[i] for i in modelled]
        )
    return result


def practice(rng: Random) -> Iterator[corpus.Prompt]:
    """Yield the prompts to train on, for ever.

    Parameters
    ----------
    rng : Random
        Where the choices come from.

    Yields
    ------
    corpus.Prompt
        Fewer reviews and stories than the corpus has.
    """
    for prompt in corpus.training_prompts(rng):
        if prompt.kind not in MODELLED or rng.random() < MODELLED_SHARE:
            yield prompt


def against_the_others(returns: Tensor) -> Tensor:
    """Return each return minus the mean of the others for the same prompt.

    Parameters
    ----------
    returns : Tensor, shape (prompts * N_SAMPLES,)
        Samples of a prompt stand together.

    Returns
    -------
    Tensor
        Of the same shape; an unbiased baseline.
    """
    groups = returns.view(-1, N_SAMPLES)
    return ((groups - groups.mean(1, keepdim=True)) * N_SAMPLES / (N_SAMPLES - 1)).view(-1)


def train(n_steps: int) -> LlamaForCausalLM:
    """Return the trained policy and print reward and KL every 10 steps.

    Parameters
    ----------
    n_steps : int
        How many times completions are drawn.

    Returns
    -------
    LlamaForCausalLM
        In single precision.
    """
    torch.manual_seed(SEED)
    policy, reference, reward_model = (
        folders.load("reference"),
        folders.load("reference"),
        folders.load_reward(),
    )
    optimizer = torch.optim.AdamW(policy.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.0)
    scheduler = batches.schedule(optimizer, n_steps, warmup=5)
    source, started = practice(Random(SEED)), time.monotonic()
    for step in range(1, n_steps + 1):
        prompts = [prompt for prompt in (next(source) for _ in range(N_PROMPTS)) for _ in range(N_SAMPLES)]
        prompt_ids = [[words.BOS, *batches.ids(prompt.prompt)] for prompt in prompts]
        completions = batches.draw(policy, prompt_ids)
        reward = score(reward_model, prompts, prompt_ids, completions)
        with torch.no_grad():
            log_ref = batches.log_prob(reference, prompt_ids, completions)
        log_policy = batches.log_prob(policy, prompt_ids, completions)
        divergence = log_policy.detach() - log_ref
        advantage = against_the_others(reward - BETA * divergence)
        optimizer.zero_grad()
        (-(advantage * log_policy).mean()).backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        if step % 10 == 0:
            reached = f"reward {reward.mean():.3f}, KL {divergence.mean():.2f} nats"
            print(f"step {step}: {reached}, {time.monotonic() - started:.0f} s", flush=True)
    return policy


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=N_STEPS)
    folders.save(train(parser.parse_args().steps), "policy")


if __name__ == "__main__":
    main()
