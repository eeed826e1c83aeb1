"""Which prompts are answered at each step of reinforcement learning: decided before training, from the seed alone."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np


def prompt_order(prompts: int, per_step: int, steps: int, seed: int, tasks: Sequence[str] | None = None) -> list[int]:
    """Places of prompts in the order of their use, `per_step` of them for every step.

    The prompts are gone through in a random order, all of them before one comes again, then in another order. With
    `tasks` this holds for the prompts of each task by themselves, and every step has as many prompts of each as
    possible: what cannot be divided is given to the tasks in turn, so that over any steps they differ by at most one.
    The first steps of a run are those of a longer one.

    Args:
        prompts: how many there are.
        per_step: how many a step uses.
        steps: how many steps.
        seed: of the orders.
        tasks: (prompts,) the task of each, or None to draw from all alike.

    Raises:
        ValueError: there are no prompts, or `tasks` are of other prompts.
    """
    if not prompts or (tasks is not None and len(tasks) != prompts):
        raise ValueError(f"{prompts} prompts with {None if tasks is None else len(tasks)} tasks")
    labels = [""] * prompts if tasks is None else list(tasks)
    names = sorted(set(labels))
    streams = [
        _endless([place for place, label in enumerate(labels) if label == name], seed, number)
        for number, name in enumerate(names)
    ]
    order: list[int] = []
    for step in range(steps):
        turns = Counter(turn % len(names) for turn in range(step * per_step, (step + 1) * per_step))
        chosen = [next(streams[number]) for number in sorted(turns) for _ in range(turns[number])]
        if len(names) > 1:  # they alternate at random, as a step may be cut into minibatches
            chosen = np.random.default_rng([seed, len(names), step]).permutation(chosen).tolist()
        order += chosen
    return order


def _endless(places: list[int], seed: int, stream: int) -> Iterator[int]:
    generator = np.random.default_rng([seed, stream])
    while True:
        yield from generator.permutation(places).tolist()
