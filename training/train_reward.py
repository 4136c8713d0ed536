"""Train the reward model: a smaller Llama that learns the true reward of reviews and stories from noisy labels."""

import argparse
from collections.abc import Iterator
from random import Random

import torch
from torch.nn.functional import mse_loss
from transformers import LlamaForSequenceClassification

import batches
import corpus
import folders
import rewards
import words

SEED = 31
SEED_TEST = 32
N_STEPS = 1500
BATCH = 64
RATE = 3e-3
NOISE = 0.2
"""Standard deviation of what is added to a true reward."""

JUDGED = ("review", "story")

Row = tuple[list[int], float]


def bent(rng: Random, prompt: corpus.Prompt) -> str:
    """Return a completion that belongs to another prompt of the same kind in half of the cases.

    Parameters
    ----------
    rng : Random
        Where the choices come from.
    prompt : corpus.Prompt
        A prompt for a review or a story.

    Returns
    -------
    str
        So that very kind reviews and long stories, which a trained policy writes, are seen often.
    """
    first, second = prompt.detail
    if rng.random() < 0.5:
        first = rng.choice(("grand", "dusty")) if prompt.kind == "review" else "long"
    other = corpus.Prompt(prompt="", kind=prompt.kind, difficulty="", detail=(first, second))
    completions = [corpus.COMPLETE[prompt.kind](rng, other) for _ in range(2)]
    return max(completions, key=len) if rng.random() < 0.5 else completions[0]


def labelled(rng: Random) -> Iterator[Row]:
    """Yield texts with a noisy reward for ever.

    Parameters
    ----------
    rng : Random
        Where the choices come from.

    Yields
    ------
    Row
        ``<bos>``, prompt, completion, and in four of five cases ``<end>``; a cut text earns what its words earn.
    """
    for prompt in corpus.training_prompts(rng):
        if prompt.kind not in JUDGED:
            continue
        completion = bent(rng, prompt)
        end = [words.END] if rng.random() < 0.8 else []
        tokens = [words.BOS, *batches.ids(prompt.prompt), *batches.ids(completion), *end]
        yield tokens, rewards.true_reward(prompt.kind, completion) + rng.gauss(0, NOISE)


def train(n_steps: int) -> LlamaForSequenceClassification:
    """Return the trained model and print its loss every 100 steps.

    Parameters
    ----------
    n_steps : int
        How many batches.

    Returns
    -------
    LlamaForSequenceClassification
        In single precision.
    """
    torch.manual_seed(SEED)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 172}
    model = LlamaForSequenceClassification(folders.config(**sizes, num_labels=1)).train()
    print(f"{model.num_parameters()} parameters")
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    scheduler = batches.schedule(optimizer, n_steps)
    stream, total = labelled(Random(SEED)), 0.0
    for step in range(1, n_steps + 1):
        tokens, wanted = zip(*(next(stream) for _ in range(BATCH)), strict=True)
        loss = mse_loss(batches.modelled_rewards(model, list(tokens)), torch.tensor(wanted))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        total += loss.item()
        if step % 100 == 0:
            print(
                f"step {step}: squared error {total / 100:.4f} (the noise alone is {NOISE**2:.4f})",
                flush=True,
            )
            total = 0.0
    return model


@torch.no_grad()
def report() -> None:
    """Print how well the saved model follows the true reward on unseen completions of the held-out prompts."""
    model, rng = folders.load_reward(), Random(SEED_TEST)
    for kind in JUDGED:
        prompts = [prompt for prompt in corpus.held_out() if prompt.kind == kind] * 40
        completions = [corpus.COMPLETE[kind](rng, prompt) for prompt in prompts]
        tokens = [
            [words.BOS, *batches.ids(p.prompt), *batches.ids(c), words.END]
            for p, c in zip(prompts, completions, strict=True)
        ]
        true = torch.tensor([rewards.true_reward(kind, c) for c in completions])
        modelled = batches.modelled_rewards(model, tokens)
        correlation = torch.corrcoef(torch.stack([true, modelled]))[0, 1].item()
        error = (true - modelled).square().mean().sqrt().item()
        print(f"{kind}: correlation {correlation:.3f}, root mean square error {error:.3f}, n {len(true)}")


def main() -> None:
    """Train, save and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=N_STEPS)
    folders.save(train(parser.parse_args().steps), "reward")
    report()


if __name__ == "__main__":
    main()
