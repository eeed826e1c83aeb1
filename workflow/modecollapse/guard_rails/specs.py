"""What decides the tables of candidates."""

from modecollapse.digests import canonical
from modecollapse.revisions import REVISIONS
from modecollapse.study import Study


def candidates_spec(study: Study) -> str:
    """What decides which stages fall below their reference, beside the samples of benchmarks."""
    settings = study.config.measures.guard_rails
    assert settings is not None
    return canonical(
        {
            "revision": REVISIONS["analysis"],
            "rails": [rail.spec for rail in study.rails],
            "reference": settings.reference,
            "candidates": study.judged_stages(),
            "confidence": settings.confidence,
        }
    )


def merits_spec(study: Study) -> str:
    """What decides the table of what candidates are judged by, beside the tables that it is made from."""
    return canonical({"revision": REVISIONS["analysis"], "temperature": study.config.analysis.temperature})
