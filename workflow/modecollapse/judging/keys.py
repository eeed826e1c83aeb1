"""The keys of endpoints are there before a run starts."""

import sys
from collections.abc import Iterable

from modecollapse.errors import StudyError
from modecollapse.judging.chat import key_of
from modecollapse.judging.comparisons import Comparisons
from modecollapse.study import Study


def require_keys_or_exit(study: Study, judges: Iterable[str]) -> None:
    """Before the first job of a run: end with status 1 if an endpoint is to be asked whose key is not there.

    Args:
        study: the study.
        judges: those that jobs of this run ask.
    """
    for name in sorted(judges):
        endpoint = Comparisons(study).judges[name].endpoint
        assert endpoint is not None
        try:
            key_of(name, endpoint.key_from)
        except StudyError as error:
            print(f"\n{study.file}: {error}\n\nNothing was started and nothing was changed.", file=sys.stderr)
            sys.exit(1)
