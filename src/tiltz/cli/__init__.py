"""The command line: one file per command, which parses, calls the library and prints."""

from __future__ import annotations

import sys
from functools import partial

import click

from tiltz import __version__
from tiltz.cli.audit import audit
from tiltz.cli.check_z import check_z
from tiltz.cli.completion import completion
from tiltz.cli.demo import demo
from tiltz.cli.endings import exit_code
from tiltz.cli.estimate import estimate
from tiltz.cli.rollout import rollout_command
from tiltz.cli.sample import sample
from tiltz.cli.sweep import sweep


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tiltz")
def commands() -> None:
    """Compute the normalization factor Z of a reward-weighted policy, from rollouts.

    \b
        pi_beta(y|x) = pi_ref(y|x) exp(r(x,y) / beta) / Z(x)
        soft value   = beta log Z(x)

    The commands read rollouts from files (Parquet, JSONL, CSV; the layouts of tiltz, TRL, verl, A-PO
    and NeMo-RL are recognised) and group them by prompt; rollout makes such files from a model and a reward.

    Start with:  tiltz demo
    """


for _command in (rollout_command, estimate, sweep, audit, check_z, sample, demo, completion):
    commands.add_command(_command)


def main() -> None:
    """Run the command line."""
    sys.exit(exit_code(partial(commands, prog_name="tiltz", standalone_mode=False)))
