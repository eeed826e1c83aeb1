"""Supervised fine-tuning beside a bare loop (`fine_tuning`): the embedded study's on a processor, dialogues on a GPU."""

from tests.benchmarks import fine_tuning
from tests.benchmarks.comparing import Comparison


def compare(device: str) -> list[Comparison]:
    return fine_tuning.compare("sft", device)
