"""Words to padded tensors and back, and draws and scores of a language model."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM, LlamaForSequenceClassification

import words

IDS = {word: i for i, word in enumerate(words.vocabulary())}
WORDS = words.vocabulary()
IGNORED = -100


def ids(text: str) -> list[int]:
    """Return the tokens of a text, none added.

    Parameters
    ----------
    text : str
        Words of the vocabulary.

    Returns
    -------
    list of int
        One for each word.
    """
    return [IDS.get(word, words.UNK) for word in text.split()]


def text(tokens: list[int]) -> str:
    """Return the text of some tokens.

    Parameters
    ----------
    tokens : list of int
        What to spell.

    Returns
    -------
    str
        Special tokens are left out.
    """
    return " ".join(WORDS[i] for i in tokens if i > words.UNK)


def pad(rows: Sequence[Sequence[float]], fill: float = words.PAD, *, left: bool = False) -> Tensor:
    """Return rows of unequal length as one tensor.

    Parameters
    ----------
    rows : sequence of sequence of float
        The rows.
    fill : float
        What stands in the gaps.
    left : bool
        Whether the gaps come first.

    Returns
    -------
    Tensor
        Of shape (rows, longest).
    """
    width = max(map(len, rows))
    gaps = [[fill] * (width - len(row)) for row in rows]
    return torch.tensor([[*gap, *row] if left else [*row, *gap] for row, gap in zip(rows, gaps, strict=True)])


def next_token_losses(model: LlamaForCausalLM, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return minus the log-probability of each token given those before it.

    Parameters
    ----------
    model : LlamaForCausalLM
        The model.
    inputs : Tensor, shape (n, width)
        Padded on the right.
    targets : Tensor, shape (n, width)
        The same, with `IGNORED` where nothing is scored.

    Returns
    -------
    Tensor, shape (n, width - 1)
        Zero where nothing is scored. Padding on the right is never looked at from the left, so no mask is needed.
    """
    logits = model(input_ids=inputs[:, :-1]).logits
    return cross_entropy(logits.transpose(1, 2), targets[:, 1:], ignore_index=IGNORED, reduction="none")


def log_prob(model: LlamaForCausalLM, prompts: list[list[int]], completions: list[list[int]]) -> Tensor:
    """Return the log-probability of whole completions.

    Parameters
    ----------
    model : LlamaForCausalLM
        The model.
    prompts, completions : list of list of int
        Tokens; prompts start with ``<bos>``, complete completions end with ``<end>``.

    Returns
    -------
    Tensor, shape (n,)
        In nats, summed over the tokens of the completion.
    """
    pairs = list(zip(prompts, completions, strict=True))
    inputs = pad([p + c for p, c in pairs])
    targets = pad([[IGNORED] * len(p) + c for p, c in pairs], IGNORED)
    return -next_token_losses(model, inputs, targets).sum(1)


@torch.no_grad()
def draw(model: LlamaForCausalLM, prompts: list[list[int]]) -> list[list[int]]:
    """Return one completion drawn for each prompt, from the model itself.

    Parameters
    ----------
    model : LlamaForCausalLM
        The model.
    prompts : list of list of int
        Tokens; repeat a prompt for more completions.

    Returns
    -------
    list of list of int
        At most `words.MAX_COMPLETION` tokens each, ``<end>`` included where it was drawn.
    """
    inputs = pad(prompts, left=True)
    out = model.generate(
        inputs,
        attention_mask=(inputs != words.PAD).long(),
        do_sample=True,
        top_k=0,
        top_p=1.0,
        temperature=1.0,
        max_new_tokens=words.MAX_COMPLETION,
        pad_token_id=words.PAD,
        eos_token_id=words.END,
    )
    return [until_end(row) for row in out[:, inputs.shape[1] :].tolist()]


def until_end(row: list[int]) -> list[int]:
    """Return a row up to its first ``<end>``.

    Parameters
    ----------
    row : list of int
        Drawn tokens, perhaps with padding after the end.

    Returns
    -------
    list of int
        With the ``<end>``, once.
    """
    return row[: row.index(words.END) + 1] if words.END in row else row


def modelled_rewards(model: LlamaForSequenceClassification, sequences: list[list[int]]) -> Tensor:
    """Return what the reward model says.

    Parameters
    ----------
    model : LlamaForSequenceClassification
        The reward model; it reads the last token of each row.
    sequences : list of list of int
        ``<bos>``, prompt and completion.

    Returns
    -------
    Tensor, shape (n,)
        One reward for each.
    """
    inputs = pad(sequences)
    return model(input_ids=inputs, attention_mask=(inputs != words.PAD).long()).logits.squeeze(1)


def schedule(optimizer: torch.optim.Optimizer, n_steps: int, warmup: int = 50):
    """Return a learning rate that rises for `warmup` steps and then falls to a twentieth along a cosine.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Whose rate it is.
    n_steps : int
        The last step.
    warmup : int
        Steps that rise.

    Returns
    -------
    torch.optim.lr_scheduler.LambdaLR
        To be stepped after each step.
    """

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        along = torch.tensor((step - warmup) / max(1, n_steps - warmup) * torch.pi)
        return float(0.05 + 0.95 * 0.5 * (1 + torch.cos(along)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
