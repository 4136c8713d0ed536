"""Train the reference: a tiny Llama on the whole corpus."""

import argparse
import time
from collections.abc import Iterator
from random import Random

import torch
from transformers import LlamaForCausalLM

import batches
import corpus
import folders
import muon
import words

SEED = 21
N_STEPS = 2_600
BATCH = 64
RATE = 3e-3
MATRIX_RATE = 0.02
PROMPT_WEIGHT = 0.2
"""What a token of a prompt counts in the loss; one of a completion counts 1."""


Row = tuple[list[int], list[int]]


def rows_of_corpus() -> list[Row]:
    """Return the corpus as tokens.

    Returns
    -------
    list of Row
        ``<bos>`` and prompt; completion and ``<end>``.
    """
    pairs = corpus.examples()
    return [([words.BOS, *batches.ids(p.prompt)], [*batches.ids(c), words.END]) for p, c in pairs]


def random_batches(rows: list[Row], rng: Random) -> Iterator[list[Row]]:
    """Yield batches for ever, every row once an epoch, rows of like length together.

    Parameters
    ----------
    rows : list of Row
        The corpus.
    rng : Random
        Where the order comes from.

    Yields
    ------
    list of Row
        `BATCH` of them.
    """
    while True:
        order = rng.sample(rows, len(rows))
        for start in range(0, len(order) - 4 * BATCH + 1, 4 * BATCH):
            pool = sorted(order[start : start + 4 * BATCH], key=lambda row: len(row[0]) + len(row[1]))
            groups = [pool[i : i + BATCH] for i in range(0, len(pool), BATCH)]
            yield from rng.sample(groups, len(groups))


def losses_and_weights(model: LlamaForCausalLM, rows: list[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of each token and what it counts.

    Parameters
    ----------
    model : LlamaForCausalLM
        The model.
    rows : list of Row
        A batch.

    Returns
    -------
    tuple of Tensor
        Both of shape (n, width - 1); the weights are `PROMPT_WEIGHT`, 1, or 0 where there is padding.
    """
    whole = [prompt + completion for prompt, completion in rows]
    weights = [[PROMPT_WEIGHT] * len(prompt) + [1.0] * len(completion) for prompt, completion in rows]
    losses = batches.next_token_losses(model, batches.pad(whole), batches.pad(whole, batches.IGNORED))
    return losses, batches.pad(weights, 0.0)[:, 1:]


def make_optimizers(model: LlamaForCausalLM) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """Return one optimiser for the matrices inside the layers, one for the embeddings and the gains.

    Parameters
    ----------
    model : LlamaForCausalLM
        The model.

    Returns
    -------
    tuple of Optimizer
        Muon and AdamW.
    """
    inside = [w for name, w in model.named_parameters() if w.ndim == 2 and "layers" in name]
    outside = [w for name, w in model.named_parameters() if w.ndim != 2 or "layers" not in name]
    return muon.Muon(inside, lr=MATRIX_RATE), torch.optim.AdamW(
        outside, lr=RATE, betas=(0.9, 0.98), weight_decay=0
    )


def train(n_steps: int) -> LlamaForCausalLM:
    """Return the trained model and print its loss on completions every 50 steps.

    Parameters
    ----------
    n_steps : int
        How many batches.

    Returns
    -------
    LlamaForCausalLM
        In single precision.
    """
    torch.manual_seed(SEED)
    sizes = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 344}
    model = LlamaForCausalLM(folders.config(**sizes)).train()
    print(f"{model.num_parameters()} parameters")
    optimizers = make_optimizers(model)
    schedulers = [batches.schedule(optimizer, n_steps, warmup=20) for optimizer in optimizers]
    stream, started = random_batches(rows_of_corpus(), Random(SEED)), time.monotonic()
    total = n_tokens = 0.0
    for step, rows in zip(range(1, n_steps + 1), stream, strict=False):
        losses, weights = losses_and_weights(model, rows)
        model.zero_grad()
        ((losses * weights).sum() / weights.sum()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for stepped in (*optimizers, *schedulers):
            stepped.step()
        total += losses.detach()[weights == 1].sum().item()
        n_tokens += (weights == 1).sum().item()
        if step % 50 == 0:
            print(
                f"step {step}: {total / n_tokens:.3f} nats per token, {time.monotonic() - started:.0f} s",
                flush=True,
            )
            total = n_tokens = 0.0
    return model


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=N_STEPS)
    folders.save(train(parser.parse_args().steps), "reference")


if __name__ == "__main__":
    main()
