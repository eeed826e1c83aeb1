"""What several unit tests start from."""

import copy
from typing import Any

import pytest

from modecollapse.yaml_files import read_yaml
from tests.studies import SMOKE


@pytest.fixture
def content() -> dict[str, Any]:
    return copy.deepcopy(read_yaml(SMOKE))
