"""Where weights and data that were not made here come from."""

import re

from pydantic import Field, model_validator

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


class DataSource(Strict):
    """Where the rows of a data set come from: `hub` (with `revision`) or `path`."""

    hub: str | None = None
    """A data set of the Hugging Face hub, e.g. `Dahoas/static-hh`. Its files are read; code in it is never run."""
    revision: str = Field("main", min_length=1)
    """Branch, tag or commit; the target `download` resolves it to a commit in the lock file beside the study."""
    path: str | None = Field(None, min_length=1)
    """A file, a pattern such as `pairs/*.jsonl.gz`, or a directory, of which all data files are read in the order of
    their names. Relative to the study file, or else to the working directory."""

    @model_validator(mode="after")
    def _one_place(self) -> "DataSource":
        if (self.hub is None) == (self.path is None):
            raise ValueError("give one of `hub: ORGANISATION/NAME` and `path: FILE`")
        if self.hub is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", self.hub):
            raise ValueError(f"{self.hub!r} is no data set of the hub. Give `hub: ORGANISATION/NAME`")
        if self.path is not None and "revision" in self.model_fields_set:
            raise ValueError("`revision` belongs to `hub`: local files are known by their content. Remove it")
        return self

    def of(self) -> Revision:
        """The hub revision that this source names; only for `hub`."""
        assert self.hub is not None
        return Revision(Kind.DATASET, self.hub, self.revision)
