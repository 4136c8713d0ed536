"""Measure the saved models on the held-out prompts and print the figures by kind and difficulty."""

import argparse
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

import batches
import corpus
import folders
import grammar
import rewards
import train_policy
import words

SEED = 51
CHUNK = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Completions of every held-out prompt, drawn from one model.

    Parameters
    ----------
    true, trained : Tensor, shape (prompts, n)
        True reward, and the reward that the policy was trained on.
    log_ratio : Tensor, shape (prompts, n)
        Log-probability under the policy minus that under the reference.
    grammatical, ended : Tensor, shape (prompts, n)
        Whether the grammar could have written it; whether it has its ``<end>``.
    length : Tensor, shape (prompts, n)
        Tokens, ``<end>`` included.
    """

    true: Tensor
    trained: Tensor
    log_ratio: Tensor
    grammatical: Tensor
    ended: Tensor
    length: Tensor


@torch.no_grad()
def measure(model: LlamaForCausalLM, prompts: list[corpus.Prompt], n: int) -> Draws:
    """Return `n` draws for each prompt, with all that is measured of them.

    Parameters
    ----------
    model : LlamaForCausalLM
        What is drawn from.
    prompts : list of corpus.Prompt
        The held-out prompts.
    n : int
        Draws for each.

    Returns
    -------
    Draws
        In the order of the prompts.
    """
    policy, reference, reward_model = folders.load("policy"), folders.load("reference"), folders.load_reward()
    repeated = [prompt for prompt in prompts for _ in range(n)]
    columns: dict[str, list[Tensor]] = defaultdict(list)
    for start in range(0, len(repeated), CHUNK):
        asked = repeated[start : start + CHUNK]
        prompt_ids = [[words.BOS, *batches.ids(prompt.prompt)] for prompt in asked]
        drawn = batches.draw(model, prompt_ids)
        texts = [batches.text(tokens) for tokens in drawn]
        pairs = list(zip(asked, texts, strict=True))
        columns["true"].append(torch.tensor([rewards.true_reward(p.kind, t, p.answer) for p, t in pairs]))
        columns["trained"].append(train_policy.score(reward_model, asked, prompt_ids, drawn))
        log_policy, log_ref = (batches.log_prob(m, prompt_ids, drawn) for m in (policy, reference))
        columns["log_ratio"].append(log_policy - log_ref)
        columns["grammatical"].append(
            torch.tensor([float(grammar.is_grammatical(p.kind, t)) for p, t in pairs])
        )
        columns["ended"].append(torch.tensor([float(words.END in tokens) for tokens in drawn]))
        columns["length"].append(torch.tensor([float(len(tokens)) for tokens in drawn]))
    return Draws(**{name: torch.cat(parts).view(len(prompts), n) for name, parts in columns.items()})


def soft_value(reward: Tensor, beta: float) -> Tensor:
    """Return beta times the log-mean-exp of each row: the plug-in estimate of the optimum.

    Parameters
    ----------
    reward : Tensor, shape (prompts, n)
        Rewards of draws from the reference.
    beta : float
        KL coefficient.

    Returns
    -------
    Tensor, shape (prompts,)
        Too low on average where successes are rare.
    """
    return beta * (torch.logsumexp(reward / beta, 1) - math.log(reward.shape[1]))


def print_table(prompts: list[corpus.Prompt], reference: Draws, policy: Draws, key: Callable) -> None:
    """Print one line for each group of prompts.

    Parameters
    ----------
    prompts : list of corpus.Prompt
        The held-out prompts.
    reference, policy : Draws
        Of the two models.
    key : callable
        The name of a prompt's group.
    """
    beta = train_policy.BETA
    ceiling = soft_value(reference.trained, beta)
    achieved = (policy.trained - beta * policy.log_ratio).mean(1)
    print(
        "| prompts | reward, reference | reward, policy | KL, nats | J(policy) | optimum | length | grammatical |"
    )
    print("|---|---|---|---|---|---|---|---|")
    names = [key(prompt) for prompt in prompts]
    for name in dict.fromkeys(names):
        rows = [i for i, other in enumerate(names) if other == name]
        kl, lengths = (
            policy.log_ratio[rows].mean(),
            (reference.length[rows].mean(), policy.length[rows].mean()),
        )
        well_formed = (reference.grammatical[rows].mean(), policy.grammatical[rows].mean())
        print(
            f"| {name} | {reference.true[rows].mean():.3f} | {policy.true[rows].mean():.3f} | {kl:.2f} "
            f"| {achieved[rows].mean():.3f} | {ceiling[rows].mean():.3f} "
            f"| {lengths[0]:.1f} -> {lengths[1]:.1f} | {well_formed[0]:.3f} -> {well_formed[1]:.3f} |"
        )


def print_correlations(prompts: list[corpus.Prompt], draws: Draws, name: str) -> None:
    """Print how well the reward model follows the true reward on a model's own completions.

    Parameters
    ----------
    prompts : list of corpus.Prompt
        The held-out prompts.
    draws : Draws
        Of one model.
    name : str
        Which.
    """
    for kind in train_policy.MODELLED:
        rows = [i for i, prompt in enumerate(prompts) if prompt.kind == kind]
        pair = torch.stack([draws.true[rows].flatten(), draws.trained[rows].flatten()])
        print(f"reward model on {kind} by the {name}: correlation {torch.corrcoef(pair)[0, 1]:.3f}")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=16)
    n = parser.parse_args().samples
    torch.manual_seed(SEED)
    prompts = corpus.held_out()
    reference, policy = (measure(folders.load(name), prompts, n) for name in ("reference", "policy"))
    print_table(prompts, reference, policy, lambda prompt: prompt.kind)
    print()
    print_table(prompts, reference, policy, lambda prompt: f"{prompt.kind}, {prompt.difficulty}")
    print()
    for name, draws in (("reference", reference), ("policy", policy)):
        print(f"{name}: {draws.ended.mean():.4f} ended within {words.MAX_COMPLETION} tokens")
        print_correlations(prompts, draws, name)


if __name__ == "__main__":
    main()
