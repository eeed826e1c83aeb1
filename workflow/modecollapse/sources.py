"""Where weights and data that were not made here come from."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self, Union

from pydantic import Discriminator, Field, Tag, model_validator

from modecollapse.hub import Kind, Revision
from modecollapse.schema import Strict

REPOSITORY = r"^[\w.{}-]+/[\w.{}-]+$"
"""What a repository's id looks like, with places to be filled in."""


class Source(Strict):
    """One way of naming what was not made here."""

    def filled(self, **places: object) -> Self:
        """The same source with `{size}`, `{seed}` and the like filled in."""
        texts = {name: value for name, value in self if isinstance(value, str)}
        for place, value in places.items():
            texts = {name: text.replace(f"{{{place}}}", str(value)) for name, text in texts.items()}
        return self.model_copy(update=texts)


class HubSource(Source):
    """A repository of the Hugging Face hub."""

    hub: str = Field(pattern=REPOSITORY)
    """Its id, e.g. `EleutherAI/pythia-70m`; `{size}` and `{seed}` are filled in."""
    revision: str = Field("main", min_length=1)
    """Branch, tag or commit; the target `download` resolves it to a commit in the lock file beside the study."""

    def of(self, kind: Kind, **places: object) -> Revision:
        """The revision that this source names for one size and seed."""
        filled = self.filled(**places)
        return Revision(kind, filled.hub, filled.revision)


class PathSource(Source):
    """A directory of this machine."""

    path: str = Field(min_length=1)
    """Local Hugging Face directory, relative to the working directory; `{size}` and `{seed}` are filled in. Without
    `{seed}` all seeds start from the same weights."""


class GgufSource(Source):
    """A GGUF file, as llama.cpp uses them, with the tokenizer in it. Its weights are taken over in float32."""

    gguf: str = Field(min_length=1)
    """The file, relative to the working directory, or to the repository if `hub` is given; `{size}` and `{seed}` are
    filled in."""
    hub: str | None = Field(None, pattern=REPOSITORY)
    """The repository of the hub that holds the file; null for a file of this machine."""
    revision: str = Field("main", min_length=1)
    """Branch, tag or commit of the repository."""

    @model_validator(mode="after")
    def _only_repositories_have_revisions(self) -> Self:
        if self.hub is None and "revision" in self.model_fields_set:
            raise ValueError("a file of this machine has no `revision`; remove it, or name the repository with `hub`")
        return self

    def of(self, kind: Kind, **places: object) -> Revision | None:
        """The revision that this source names for one size and seed; None for a file of this machine."""
        filled = self.filled(**places)
        return None if filled.hub is None else Revision(kind, filled.hub, filled.revision)


NO_SUCH_SOURCE = "no_such_source"
"""The type of the error that `one_of` raises for keys that are none of its kinds, or two at once."""


def one_of(*kinds: type[Source]) -> Any:
    """The annotation of a source that is one of `kinds`: its first key says which, and no other kind's may stand there.

    Kinds are tagged with the names of their classes, which stand in the locations of pydantic's errors.
    """
    leading = {next(iter(kind.model_fields)): kind for kind in kinds}

    def choose(value: Any) -> str | None:
        if isinstance(value, Source):
            return type(value).__name__
        given = {key for key in leading if key in value} if isinstance(value, Mapping) else set()
        fitting = [kind for key, kind in leading.items() if key in given and given <= set(kind.model_fields)]
        return fitting[0].__name__ if len(fitting) == 1 else None

    allowed = ", ".join(f"{{{key}: …}}" for key in leading)
    options = tuple(Annotated[kind, Tag(kind.__name__)] for kind in kinds)
    wrong = Discriminator(
        choose,
        custom_error_type=NO_SUCH_SOURCE,
        custom_error_message=allowed,  # a context would make the annotation unhashable
    )
    return Annotated[Union[options], wrong]  # noqa: UP007


class FilesSource(Source):
    """Files of this machine with rows of text."""

    path: str = Field(min_length=1)
    """A file, a pattern such as `pairs/*.jsonl.gz`, or a directory, of which all data files are read in the order of
    their names. Relative to the study file, or else to the working directory."""


if TYPE_CHECKING:
    DataSource = HubSource | FilesSource
    WeightSource = HubSource | PathSource | GgufSource
    AdapterSource = HubSource | PathSource
else:
    DataSource = one_of(HubSource, FilesSource)
    WeightSource = one_of(HubSource, PathSource, GgufSource)
    AdapterSource = one_of(HubSource, PathSource)
