"""Write down what one shard trains, or how a start is made.

`python -m sgdphases.steps.resolve --card FILE --shard DIGEST --output FILE`.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from sgdphases.config import Card, ConfigError, read_card
from sgdphases.files import write_json
from sgdphases.shards import parts, shard_content, start_content, start_name
from sgdphases.steps import guard
from sgdphases.steps.command import begin


def main(argv: Sequence[str] | None = None) -> None:
    """Find what the digest names, a part of the card or its start, and write its content."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--card", required=True)
    parser.add_argument("--shard", required=True)
    parser.add_argument("--output", required=True)
    arguments = begin("resolve", parser, argv)
    card = read_card(arguments.card)
    with guard.finishing():
        write_json(arguments.output, content(card, arguments))


def content(card: Card, arguments: argparse.Namespace) -> dict[str, Any]:
    """What the asked-for digest stands for: a part of the card, or its start.

    Args:
        card: The card.
        arguments: The step's: shard and card count.

    Returns:
        What `train` or `start` is given.

    Raises:
        ConfigError: If the card has no such shard.
    """
    if arguments.shard == start_name(card):
        return start_content(card)
    for part in parts(card):
        if part.name == arguments.shard:
            return shard_content(card, part)
    raise ConfigError(f"{arguments.card} has no shard {arguments.shard}; was the card changed while this ran?")


if __name__ == "__main__":
    main()
