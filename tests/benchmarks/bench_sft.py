"""Supervised fine-tuning beside a bare loop (`fine_tuning`): of the embedded study, or of dialogues on a GPU."""

from tests.benchmarks import fine_tuning
from tests.benchmarks.comparing import Comparison


def compare(device: str) -> list[Comparison]:
    return fine_tuning.compare("sft", device)
