"""kill -9 at random moments of every stage."""

import logging
import random
import time
from collections import Counter

from faults.ground import PATIENCE, Train, kill

AGAIN = 0.25  # chance that the next attempt is killed as well
MOST_IN_A_ROW = 3
log = logging.getLogger(__name__)


def trial(stage, numbers, again, most):
    """Start a stage, kill it, perhaps kill it again, run it to its end, and compare.

    Half of the kills come at a moment drawn uniformly from the undisturbed duration; half wait until the stage writes,
    as its temporary file or the database's journal tells, and come up to 4 ms later.

    Returns:
        Counts, and the training lost at most (seconds).
    """
    counts, lost, goes_on = Counter(), 0.0, False
    stage.reset()
    stage.log.write_bytes(b"")
    for number in range(most):
        if number and numbers.random() > again:
            break
        amid = numbers.random() < 0.5
        process = stage.start()
        _wait(stage, process, numbers, amid)
        landed = kill(process) == -9
        counts["kills"] += landed
        counts["amid"] += landed and amid
        counts["late"] += not landed
        counts["half_written"] += len(stage.half_written())
        saved = stage.saved() if isinstance(stage, Train) and landed else None
        if saved is not None:
            lost, goes_on = max(lost, time.time() - saved[0]), True
        if not landed:
            break
        if numbers.random() < 0.5:
            stage.clear()
    status, text = stage.end()
    counts["trials"] += 1
    counts["failed"] += status != 0
    counts["resumed"] += "going on from step" in text
    counts["forgotten"] += goes_on and landed and "going on from step" not in text and saved is not None
    counts["wrong"] += stage.digest() != stage.reference
    counts["left_behind"] += len(stage.left_behind())
    missing, double = stage.compare()
    counts["missing"], counts["double"] = missing, double
    if counts["failed"]:
        log.warning("%s failed: %s", stage.rule, text[-3000:])
    return counts, lost


def _wait(stage, process, numbers, amid):
    """Wait for the moment to kill."""
    end = time.monotonic() + (numbers.uniform(0, stage.seconds) if not amid else PATIENCE)
    skip = numbers.randrange(4) if isinstance(stage, Train) else numbers.randrange(2)  # which of its files
    seen = False
    while process.poll() is None and time.monotonic() < end:
        if amid:
            now = stage.writing()
            skip -= seen and not now
            seen = now
            if now and skip <= 0:
                time.sleep(numbers.uniform(0, 0.004))
                return
            time.sleep(0.0002)
        else:
            time.sleep(min(0.002, max(0.0, end - time.monotonic())))


def run(stage, wanted, seed, *, again=AGAIN, most=MOST_IN_A_ROW):
    """Trials of one stage until enough kills have landed; yields what is known after each."""
    numbers = random.Random(f"{stage.rule} {seed}")
    stage.learn()
    log.info("%s: %.1f s undisturbed", stage.rule, stage.seconds)
    done = 0
    while done < wanted:
        begun = time.monotonic()
        counts, lost = trial(stage, numbers, again, min(most, wanted - done))
        done += counts["kills"]
        yield dict(counts) | {"seconds": time.monotonic() - begun, "lost": lost}
