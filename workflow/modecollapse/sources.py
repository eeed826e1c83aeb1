"""Where weights and data that were not made here come from."""

from pydantic import Field

from modecollapse.hub import Kind, Revision
from modecollapse.schema import Strict


class HubSource(Strict):
    """A repository of the Hugging Face hub."""

    hub: str = Field(pattern=r"^[^/\s]+/[^/\s]+$")
    """Its id, e.g. `EleutherAI/pythia-70m`; `{size}` and `{seed}` are filled in."""
    revision: str = Field("main", min_length=1)
    """Branch, tag or commit; the target `download` resolves it to a commit in the lock file beside the study."""

    def of(self, kind: Kind, **places: object) -> Revision:
        """The revision that this source names for one size and seed."""
        repository, revision = self.hub, self.revision
        for name, value in places.items():
            repository = repository.replace(f"{{{name}}}", str(value))
            revision = revision.replace(f"{{{name}}}", str(value))
        return Revision(kind, repository, revision)
