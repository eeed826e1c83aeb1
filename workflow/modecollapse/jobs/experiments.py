"""What the creativity measures sample from one model: it is loaded once, and each measure's part is kept at once."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from modecollapse import stopping
from modecollapse.cell_tables import CELL_SCHEMA
from modecollapse.cells import Cell, Model
from modecollapse.digests import canonical, digest
from modecollapse.identities import identity_metadata
from modecollapse.jobs.embeddings import sentence_vectors
from modecollapse.jobs.running import Job, device
from modecollapse.manifest import read_manifest
from modecollapse.measures import attractor, personas, probes, top_entropy
from modecollapse.measures.asking import KINDS, AskingSettings
from modecollapse.measures.semantic import ASKED, ModeSettings
from modecollapse.prompts import PromptFormat
from modecollapse.sealed import write_sealed
from modecollapse.store import Store

if TYPE_CHECKING:
    from modecollapse.measures.experimenter import Output

logger = logging.getLogger(__name__)


def run_experiments(
    spec: Mapping[str, Any],
    identity: Model,
    model: tuple[Path, Path],
    outputs: Mapping[str, Path],
    store: Store,
    job: Job,
) -> None:
    """Write the files of one model, of all measures in the spec; those that are in the store are put back.

    Args:
        spec: the spec of the experiments.
        identity: the model.
        model: its manifest and weights.
        outputs: kind → file.
        store: where finished parts are found again.
        job: the running job, to count imports as start-up.

    Raises:
        CorruptFile: the weights are not those of the manifest.
        StudyError: a prompt and its output do not fit the model's context, a chat template that cannot give a prompt,
            or an embedder whose weights are not the expected ones.
        Stopped: the process was asked to stop.
    """
    manifest, weights = model
    read = read_manifest(manifest)
    read.verify(weights)
    shared = {name: value for name, value in spec.items() if name != "parts"}
    asked = {"of": str(identity), "weights": read.weights, "shared": shared}
    keys = {name: digest({**asked, name: part}) for name, part in spec["parts"].items()}
    tables = {name: _kept(store, name, key) for name, key in keys.items()}
    missing = [name for name, found in tables.items() if found is None]
    logger.info("parts: %d of %d are in the store", len(tables) - len(missing), len(tables))
    if missing:
        job.load("torch", "transformers:AutoModelForCausalLM", "transformers.modeling_utils")
        experiments = _Experiments(spec, identity, weights, store, job)
        for name in missing:
            stopping.check()
            made = tables[name] = experiments.run(name)
            for kind in KINDS[name]:
                store.write_table(f"experiment_{kind}", keys[name], made[kind])
            logger.info("made %s", name)
    for name, found in tables.items():
        assert found is not None
        for kind in KINDS[name]:
            metadata = identity_metadata(identity)
            if name == "semantic":
                part = spec["parts"][name]
                metadata |= identity_metadata(Cell(identity, ASKED, part["format"]["name"], part["temperature"]))
            write_sealed(found[kind].replace_schema_metadata(None), outputs[kind], metadata)


def _kept(store: Store, name: str, key: str) -> dict[str, pa.Table] | None:
    found = {kind: store.read_table(f"experiment_{kind}", key) for kind in KINDS[name]}
    tables = {kind: table for kind, table in found.items() if table is not None}
    return tables if len(tables) == len(found) else None


class _Experiments:
    """The parts of one model."""

    def __init__(self, spec: Mapping[str, Any], identity: Model, weights: Path, store: Store, job: Job) -> None:
        from modecollapse.generation.models import load_causal_model
        from modecollapse.measures.experimenter import Experimenter

        self._spec, self._identity, self._store, self._job = spec, identity, store, job
        model = load_causal_model(weights, spec["dtype"], spec["threads"], device())
        self._sampled: dict[str, list[Output]] = {}
        self._model: Experimenter = Experimenter(model, spec["stop"], spec["rows_per_batch"])

    def run(self, name: str) -> dict[str, pa.Table]:
        """The tables of one measure by kind."""
        made: dict[str, pa.Table] = getattr(self, f"_{name}")(self._spec["parts"][name])
        return made

    def _personas(self, part: Mapping[str, Any]) -> dict[str, pa.Table]:
        rows = [
            {"format": part["format"]["name"], "sample": output.sample, **_answer(output)}
            for output in self._outputs(part, {"persona": part["text"]}, "personas", part["start"])
        ]
        return {"personas": pa.Table.from_pylist(rows, personas.OUTPUTS)}

    def _semantic(self, part: Mapping[str, Any]) -> dict[str, pa.Table]:
        rows = [
            {
                **{"prompt": output.prompt, "sample": output.sample, **_answer(output)},
                "log_probs": output.rollout.log_probs[: output.completion.n_tokens].tolist(),
            }
            for output in self._outputs(part, part["asked"], "semantic")
        ]
        return {"asked": pa.Table.from_pylist(rows, CELL_SCHEMA)}

    def _top_entropy(self, part: Mapping[str, Any]) -> dict[str, pa.Table]:
        outputs = self._outputs(part, {"": part["text"]}, "top_entropy")
        rows = [
            {
                **{"sample": output.sample, "position": position, "token": token.token, "log_prob": token.log_prob},
                **{"entropy": token.entropy, "top_tokens": [text for text, _ in token.top]},
                "top_probs": [probability for _, probability in token.top],
            }
            for output, tokens in zip(
                outputs, self._model.token_rows(outputs, float(part["temperature"]), part["top"]), strict=True
            )
            for position, token in enumerate(tokens)
        ]
        return {"top_entropy": pa.Table.from_pylist(rows, top_entropy.TOKENS)}

    def _attractor(self, part: Mapping[str, Any]) -> dict[str, pa.Table]:
        found = [self._attractors(part, temperature) for temperature in part["temperatures"]]
        return {kind: pa.concat_tables([tables[kind] for tables in found]) for kind in KINDS["attractor"]}

    def _attractors(self, part: Mapping[str, Any], temperature: str) -> dict[str, pa.Table]:
        """The modes of the outputs at one temperature, and the ways back to them."""
        from modecollapse.metrics import modes as clusters
        from modecollapse.metrics.attractors import after_first_sentence, cut, find_modes, returns

        semantic = {**part["semantic"], "temperature": temperature}
        name, question = next(iter(semantic["asked"].items()))
        texts = [each.completion.text for each in self._outputs(semantic, {name: question}, "semantic")]
        settings = ModeSettings.model_validate(part["modes"], strict=False)
        vectors = self._vectors(texts, part["embedding"])
        labels = clusters.find_clusters(vectors, settings.most_clusters, settings.seed).labels
        rest = [after_first_sentence(text) for text in texts]
        modes = find_modes(self._vectors(rest, part["embedding"]), labels)
        rendered = self._rendered(semantic["format"], question)
        rows, continued = [], []
        arms: dict[str, str] = {}
        for mode in range(labels.max(initial=-1) + 1):
            members = np.flatnonzero(labels == mode)
            nearest = members[np.argsort(-(vectors[members] @ vectors[members].mean(axis=0)), kind="stable")]
            cuts = ((sample, cut(texts[sample], part["negations"])) for sample in nearest)
            sample, found = next(((each, parts) for each, parts in cuts if parts), (nearest[0], None))
            rows.append(
                {
                    **{"temperature": temperature, "mode": mode, "share": len(members) / len(texts)},
                    **{"sample": int(sample), "text": texts[sample], "radius": float(modes.radii[mode])},
                    **({"prefix": found.prefix, "verb": found.verb} if found else {}),
                }
            )
            if found:
                arms |= {f"{mode}/perturbed": found.negated, f"{mode}/unperturbed": found.prefix}
        asking, rooms = self._asking({**semantic, "completions": part["continuations"]}), {}
        for arm, begun in arms.items():
            rooms[arm] = self._model.room(rendered + begun)
        # A prefix takes a part of the room that its output had; one that leaves none is not continued.
        arms = {arm: begun for arm, begun in arms.items() if rooms[arm] > 0}
        if arms:
            most = min([asking.max_new_tokens, *(rooms[arm] for arm in arms)])
            asking = asking.model_copy(update={"max_new_tokens": int(most)})
            asked = {arm: rendered + begun for arm, begun in arms.items()}
            outputs = self._model.outputs(asked, asking, self._stream("attractor", asking))
            # Read as the outputs were: with the words of the prefix that stand after its first sentence, in both arms.
            rest = [after_first_sentence(arms[output.prompt] + output.completion.text) for output in outputs]
            for output, vector in zip(outputs, self._vectors(rest, part["embedding"]), strict=True):
                own, _, arm = output.prompt.partition("/")
                back = returns(modes, int(own), vector)
                tokens = output.rollout.tokens[: output.completion.n_tokens]
                continued.append(
                    {
                        **{"temperature": temperature, "mode": int(own), "arm": arm, "sample": output.sample},
                        **{"text": output.completion.text, "nearest": int(back.nearest[0])},
                        **{"cosine": float(back.cosine[0]), "returned": bool(back.returned[0])},
                        "tokens": [self._model.token_text(token) for token in tokens],
                        "log_probs": output.rollout.log_probs[: len(tokens)].tolist(),
                    }
                )
        return {
            "modes": pa.Table.from_pylist(rows, attractor.MODES),
            "continuations": pa.Table.from_pylist(continued, attractor.CONTINUATIONS),
        }

    def _probes(self, part: Mapping[str, Any]) -> dict[str, pa.Table]:
        return {"confidence": self._confidence(part), **self._choices(part), "responses": self._responses(part)}

    def _confidence(self, part: Mapping[str, Any]) -> pa.Table:
        rows = []
        if part["continuations"]:
            outputs = self._outputs({**part, "completions": 1}, part["continuations"], "confidence")
            found = self._model.token_rows(outputs, float(part["temperature"]), 1)
            rows = [
                {
                    **{"question": output.prompt, "position": position, "token": token.token},
                    **{"log_prob": token.log_prob, "top_prob": token.top[0][1]},
                }
                for output, tokens in zip(outputs, found, strict=True)
                for position, token in enumerate(tokens)
            ]
        return pa.Table.from_pylist(rows, probes.CONTINUATION_TOKENS)

    def _choices(self, part: Mapping[str, Any]) -> dict[str, pa.Table]:
        following, chosen = [], []
        for name, question in part["choices"].items():
            rendered = self._rendered(part["format"], question["text"])
            likely = self._model.next_tokens(rendered, probes.MOST_RANKS)
            following += [
                {"question": name, "rank": rank, "token": token, "probability": probability}
                for rank, (token, probability) in enumerate(likely, 1)
            ]
            mass = self._model.choice_probabilities(rendered, question["among"])
            chosen += [{"question": name, "choice": each, "probability": value} for each, value in mass.items()]
        return {
            "next_tokens": pa.Table.from_pylist(following, probes.NEXT_TOKENS),
            "choices": pa.Table.from_pylist(chosen, probes.CHOICES),
        }

    def _responses(self, part: Mapping[str, Any]) -> pa.Table:
        rows = []
        if part["responses"]:
            form = part["own_format"]
            asked = {**part, "format": form, "completions": part["samples"]}
            rows = [
                {
                    **{"question": output.prompt, "format": form["name"]},
                    **{"sample": output.sample, "text": output.completion.text},
                }
                for output in self._outputs(asked, part["responses"], "responses")
            ]
        return pa.Table.from_pylist(rows, probes.RESPONSES)

    def _outputs(
        self, part: Mapping[str, Any], questions: Mapping[str, str], name: str, start: str = ""
    ) -> "list[Output]":
        asking = self._asking(part)
        rendered = {key: self._rendered(part["format"], text, start) for key, text in questions.items()}
        key = canonical([rendered, asking.model_dump(), name])
        if key not in self._sampled:  # modes are asked for by two measures
            self._sampled[key] = self._model.outputs(rendered, asking, self._stream(name, asking))
        return self._sampled[key]

    def _stream(self, name: str, asking: AskingSettings) -> str:
        return f"{asking.seed}/{name}/{self._identity}/T{asking.temperature}"

    def _asking(self, part: Mapping[str, Any]) -> AskingSettings:
        return AskingSettings(**{key: part[key] for key in AskingSettings.model_fields})

    def _rendered(self, form: Mapping[str, Any], text: str, start: str = "") -> str:
        return self._model.rendered(PromptFormat.from_spec(form["name"], form["spec"]), text, start)

    def _vectors(self, texts: Sequence[str], embedding: Mapping[str, Any]) -> np.ndarray:
        """(texts, dimensions)."""
        known = sentence_vectors(list(dict.fromkeys(texts)), embedding, self._store, self._job)
        return np.stack([known[text] for text in texts])


def _answer(output: "Output") -> dict[str, Any]:
    completion = output.completion
    return {
        **{"text": completion.text, "finish_reason": completion.finish_reason},
        "n_tokens": completion.n_tokens,
    }
