"""Stages in study files: what all have in common, and a model of each method's keys."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, cast

from pydantic import AfterValidator, Field, create_model

from modecollapse.methods import METHODS
from modecollapse.methods.base import Capability, Method
from modecollapse.schema import Name, Strict, distinct

PublishedStage = Literal["plm", "sft", "dpo"]


class StageBase(Strict):
    """What all stages have in common; each method adds its own keys."""

    method: str
    """How the stage comes to be."""
    like: Name | None = None
    """Another stage whose keys it takes over, as far as its own method has them too, but for its `label`: state what is
    different. What single sizes do differently in that stage, they do in this one."""
    parent: Name | None = Field(None, alias="from")
    """The stage that this one descends from: whose weights it continues, or, where its own are taken over from
    elsewhere, whose descendant it is said to be. The change from there is a step of the attribution."""
    data: Name | None = None
    """The data set it is trained on."""
    reward: Name | None = None
    """What scores answers for it: a stage of the method `reward`, or a function: `utility` (the true one, in a world)
    or `words` (their number)."""
    train_format: Name = "human"
    """Prompt format of its training text."""
    formats: Annotated[tuple[Name, ...], AfterValidator(distinct)] | None = None
    """Prompt formats it is measured under, if not those of `generation`."""
    sizes: Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(distinct)] | None = None
    """The sizes that have the stage; null: all. Stages that descend from it need be no more."""
    label: str | None = None
    """Its name in figures; default: the stage's name in capitals."""
    published_as: PublishedStage | None = None
    """The stage of O'Mahony et al. (2024) that this is, in sizes that have the key as well."""

    @property
    def writes(self) -> bool:
        """Whether it can be asked for answers."""
        return self.method in METHODS and not self.has("scores") and not self.has("decodes")

    def has(self, capability: Capability) -> bool:
        """Whether its method has a capability; finished completions have no method, and so none."""
        method = METHODS.get(self.method)
        return method is not None and bool(getattr(method, capability))


class CompletionsStage(StageBase):
    """Finished completions, written by a model that is not here: everything after generation works."""

    method: Literal["completions"]
    layout: Literal["analyse-llms", "table"]
    """`analyse-llms`: the .npy files of O'Mahony et al. `table`: our JSONL or Parquet (see docs/configuration.md)."""
    files: dict[Name, str]
    """Prompt set → file, relative to the directory given by `--config completions=DIR`; `{size}` and
    `{seed}` are filled in. A study of several seeds needs `{seed}`, so that no file counts twice."""


def _stage_model(method: Method) -> type[StageBase]:
    fields: dict[str, Any] = {"method": (Literal[method.name], ...)}
    bases: Any = (StageBase, method.settings)
    name = f"{method.name.capitalize()}Stage"
    # What keys mean is known from the bases; looking for it here takes a fifth of a dry run.
    options = {"use_attribute_docstrings": False}
    model: Any = create_model(name, __base__=bases, __doc__=method.settings.__doc__, __cls_kwargs__=options, **fields)
    return cast(type[StageBase], model)


STAGE_MODELS: dict[str, type[StageBase]] = {
    **{name: _stage_model(method) for name, method in METHODS.items()},
    "completions": CompletionsStage,
}

if TYPE_CHECKING:
    Stage = StageBase
else:
    Stage = Annotated[Union[tuple(STAGE_MODELS.values())], Field(discriminator="method")]  # noqa: UP007
