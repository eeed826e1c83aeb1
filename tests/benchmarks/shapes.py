"""Models with random weights at the shapes that benchmarks run on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from modecollapse.data.nano.world import World
from modecollapse.data.tokenizer import train_tokenizer
from modecollapse.methods.architecture import ArchitectureSettings, neox_config, new_model


@dataclass(frozen=True)
class Shape:
    """An architecture and the length of its logits."""

    name: str
    architecture: ArchitectureSettings
    vocabulary: int


NANO_L = Shape("nano-l", ArchitectureSettings(hidden_size=128, layers=4, heads=4, context=128), 1024)
PYTHIA_70M = Shape("pythia-70m", ArchitectureSettings(hidden_size=512, layers=6, heads=8, context=2048), 50_304)
_PYTHIA = {
    "pythia-410m": ArchitectureSettings(hidden_size=1024, layers=24, heads=16, context=2048),
    "pythia-1.4b": ArchitectureSettings(hidden_size=2048, layers=24, heads=16, context=2048),
    "pythia-2.8b": ArchitectureSettings(hidden_size=2560, layers=32, heads=32, context=2048),
}
ON_A_GPU = tuple(Shape(name, architecture, 50_304) for name, architecture in _PYTHIA.items())

SHAPES: Mapping[str, tuple[Shape, ...]] = MappingProxyType({"cpu": (NANO_L,), "cuda": ON_A_GPU})
"""What a subject that computes with a model runs on, by device."""


def make_model(shape: Shape, directory: Path) -> None:
    """Save a model of that shape with random weights, and a tokenizer of the nano world's text, in `directory`."""
    train_tokenizer(World().pretraining(3000, 0).column("text").to_pylist(), 1024, directory)
    new_model(neox_config(shape.architecture, shape.vocabulary, 0, 0), 0).save_pretrained(directory)
