"""The registry of output-level metrics."""

import subprocess
import sys

import numpy as np
import pytest

from modecollapse.errors import StudyError
from modecollapse.metrics.registry import METRICS, QUALITIES, Direction, metric
from modecollapse.metrics.sample import Sample

CLOSE = ["the small cat sat on the old mat", "the small cat sat on the red mat", "The small cat sat on the old mat"]
FAR = ["rain fell over seven silent harbours", "my uncle repairs clocks and violins", "nobody expected such bitter tea"]


@pytest.mark.parametrize("name", [name for name, entry in METRICS.items() if entry.direction is not Direction.NEITHER])
def test_every_direction_holds_between_similar_and_different_texts(name: str) -> None:
    close = Sample(CLOSE, 8, (), np.array([[1.0, 0.1], [1.0, 0.0], [1.0, 0.2]]))
    far = Sample(FAR, 8, (), np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.3]]))
    for definition in metric(name).definitions.values():
        change = definition.compute(far) - definition.compute(close)
        assert np.sign(change) == metric(name).direction.sign


def test_an_unknown_metric_is_refused_with_the_list_of_all() -> None:
    with pytest.raises(StudyError, match=r"no metric is called 'self_blue'\. Allowed: self_bleu, jaccard_2"):
        metric("self_blue")


def test_names_are_keys_and_labels_are_unique() -> None:
    entries = {**METRICS, **QUALITIES}
    assert all(name == entry.name for name, entry in entries.items())
    assert len({entry.label for entry in entries.values()}) == len(entries)
    assert all("corrected" in entry.definitions for entry in METRICS.values())


def test_an_axis_shows_the_unit_if_there_is_one() -> None:
    assert metric("mean_length").axis == "Mean length (words)"
    assert metric("self_bleu").axis == "Self-BLEU"


def test_a_metric_that_needs_vectors_refuses_a_sample_without_them() -> None:
    for entry in METRICS.values():
        if entry.needs_embeddings:
            with pytest.raises(ValueError, match="needs sentence vectors"):
                entry.definitions["corrected"].compute(Sample(CLOSE, 8))


def test_importing_the_registry_loads_no_heavy_library() -> None:
    code = "import sys, modecollapse.measures.diversity; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "modecollapse.metrics.registry" in loaded
    assert not {"torch", "pandas", "nltk", "transformers", "scipy"} & set(loaded)
