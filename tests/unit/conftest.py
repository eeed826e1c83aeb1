"""What several unit tests start from."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from modecollapse.yaml_files import read_yaml
from tests import pretend_hub
from tests.pretend_hub import PretendHub
from tests.sharing import made_by_one_worker, shared_directory
from tests.studies import SMOKE

if TYPE_CHECKING:
    import pandas as pd

    from modecollapse.figures.context import FigureContext


@pytest.fixture
def content() -> dict[str, Any]:
    return copy.deepcopy(read_yaml(SMOKE))


@pytest.fixture(scope="session")
def trained_pipeline(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A directory with a small trained spaCy pipeline: tagger, morphologizer, parser and word vectors."""
    from tests.text_pipelines import write_trained_pipeline

    return made_by_one_worker(shared_directory(tmp_path_factory, worker_id) / "pipeline", write_trained_pipeline)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a tiny model and its tokenizer."""
    from tests.tiny_models import save_neox

    return save_neox(tmp_path_factory.mktemp("model") / "weights")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendHub]:
    with PretendHub().running() as hub:
        pretend_hub.use(monkeypatch, cache, hub)
        yield hub


@pytest.fixture
def context() -> "FigureContext":
    from tests.figure_tables import figure_context  # pandas and matplotlib, which few tests need

    return figure_context()


@pytest.fixture(scope="session")
def tables_once() -> "dict[str, pd.DataFrame]":
    from tests.figure_tables import figure_tables

    return figure_tables()


@pytest.fixture
def tables(tables_once: "dict[str, pd.DataFrame]") -> "dict[str, pd.DataFrame]":
    """A copy that a test may edit."""
    return {name: frame.copy() for name, frame in tables_once.items()}


@pytest.fixture
def few_metrics(tables: "dict[str, pd.DataFrame]") -> "dict[str, pd.DataFrame]":
    """`tables`, of whose figures the largest have a panel for three metrics only."""
    from tests.figure_tables import of_few_metrics

    return of_few_metrics(tables)
