"""Write down what one shard trains, or how a start is made.

`python -m sgdphases.steps.resolve --card FILE --shard DIGEST --output FILE`.
"""

import argparse
from collections.abc import Sequence

from sgdphases.config import ConfigError, read_card
from sgdphases.files import write_json
from sgdphases.shards import parts, shard_content, start_content, start_name
from sgdphases.steps.command import begin


def main(argv: Sequence[str] | None = None) -> None:
    """Find what the digest names, a part of the card or its start, and write its content.

    Raises:
        ConfigError: If the card has no such shard.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--card", required=True)
    parser.add_argument("--shard", required=True)
    parser.add_argument("--output", required=True)
    arguments = begin("resolve", parser, argv)
    card = read_card(arguments.card)
    if arguments.shard == start_name(card):
        write_json(arguments.output, start_content(card))
        return
    for part in parts(card):
        if part.name == arguments.shard:
            write_json(arguments.output, shard_content(card, part))
            return
    raise ConfigError(f"{arguments.card} has no shard {arguments.shard}; was the card changed while this ran?")


if __name__ == "__main__":
    main()
