"""Attractors: whether a model that is pushed off one of its modes goes back to it.

Section 5.1 of Mohammadi (2024), "Creativity Has Left the Chat: The Price of Debiasing Language Models": the first
sentence of an output is kept, the next is cut behind its verb and negated ("She was not"), and the model goes on from
there. What the paper shows in one picture is measured here: the share of continuations that end up in the mode that
they were pushed off, beside that of continuations of the same words without the negation.
"""

from typing import Annotated

import pyarrow as pa
from pydantic import Field

from modecollapse.schema import Strict
from modecollapse.temperatures import Temperature

MODES = pa.schema(
    [
        *(("temperature", pa.string()), ("mode", pa.int32()), ("share", pa.float64()), ("sample", pa.int32())),
        *(("text", pa.string()), ("prefix", pa.string()), ("verb", pa.string()), ("radius", pa.float64())),
    ]
)
"""One row per mode of a model's outputs at a temperature, 0 the largest: the share of outputs in it; of those that have
something to negate the one closest to its centre, how this is cut (`prefix` ends with `verb`; both null if none has),
and the cosine to the mode's centre that 95 % of its own outputs reach."""

CONTINUATIONS = pa.schema(
    [
        *(("temperature", pa.string()), ("mode", pa.int32()), ("arm", pa.string()), ("sample", pa.int32())),
        *(("text", pa.string()), ("nearest", pa.int32()), ("cosine", pa.float64()), ("returned", pa.bool_())),
        *(("tokens", pa.list_(pa.string())), ("log_probs", pa.list_(pa.float64()))),
    ]
)
"""One row per continuation of a mode's prefix, `arm` "perturbed" or "unperturbed": its text; the mode whose centre is
nearest to what text and prefix say after their first sentence, the cosine to the centre of its own, and whether it
returned: its own is nearest and the cosine within the radius. `tokens` and `log_probs` (nats) are those of the
continuation."""


_NEGATIONS = {verb: f"{verb} not" for verb in ("was", "is", "were", "are", "had", "has")}


class AttractorSettings(Strict):
    """Attractors (the CR paper's section 5.1): modes of the outputs of the first prompt of `measures.semantic.asked`,
    and the way back to them."""

    continuations: int = Field(20, ge=1)
    """Continuations of each mode, with the negation and without."""
    low_temperature: Temperature = "0.3"
    """The first stage of every path is looked at at this temperature as well: the paper finds attractors in aligned
    models at 1.0, and none in base models at low temperatures."""
    negations: Annotated[dict[str, Annotated[str, Field(min_length=1)]], Field(min_length=1)] = _NEGATIONS
    """Verb → its negation, which takes its place."""
