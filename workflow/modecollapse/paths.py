"""The one place where an identity becomes a file name. Nothing parses a path to recover what it means."""

from dataclasses import dataclass
from pathlib import Path

from modecollapse.cells import Cell, Model, ModelData


@dataclass(frozen=True)
class Paths:
    """Where a study's files are. `root` is ``{results}/{study}``; wildcard strings are accepted as names."""

    root: Path

    def data(self, name: str) -> str:
        return f"{self.root}/data/{name}.parquet"

    def sampled(self, data: ModelData) -> str:
        return f"{self.root}/sampled/{data}.parquet"

    def derived(self, data: ModelData) -> str:
        return f"{self.root}/data/{data}.parquet"

    def own_answers(self, data: ModelData) -> str:
        return f"{self.root}/answers/{data}.parquet"

    def candidates(self, data: ModelData) -> str:
        return f"{self.root}/candidates/{data}.parquet"

    def labels(self, data: ModelData) -> str:
        return f"{self.root}/labels/{data}.parquet"

    def labelling_sheet(self, data: ModelData, suffix: str) -> str:
        return f"{self.root}/labelling/{data}.{suffix}"

    def tokenizer(self) -> str:
        return f"{self.root}/tokenizer/files"

    def tokenizer_manifest(self) -> str:
        return f"{self.root}/tokenizer/manifest.json"

    def manifest(self, model: Model) -> str:
        return f"{self.root}/models/{model}/manifest.json"

    def weights(self, model: Model) -> str:
        return f"{self.root}/models/{model}/weights"

    def curves(self, model: Model) -> str:
        return f"{self.root}/models/{model}/curves.parquet"

    def reference_scores(self, model: Model, pairs: str) -> str:
        return f"{self.root}/references/{model}/{pairs}.parquet"

    def cell(self, cell: Cell) -> str:
        return f"{self.root}/generations/{cell}.parquet"

    def token_documents(self, model: Model) -> str:
        return f"{self.root}/tokens/{model}/documents.parquet"

    def token_vocabulary(self, model: Model) -> str:
        return f"{self.root}/tokens/{model}/vocabulary.parquet"

    def divergence(self, model: Model) -> str:
        return f"{self.root}/divergence/{model}.parquet"

    def benchmark_results(self, model: Model) -> str:
        return f"{self.root}/benchmarks/{model}/results.parquet"

    def benchmark_samples(self, model: Model) -> str:
        return f"{self.root}/benchmarks/{model}/samples.parquet"

    def reward_scores(self, model: Model) -> str:
        return f"{self.root}/rewards/{model}.parquet"

    def experiment(self, model: Model, kind: str) -> str:
        """`kind` is one of those in `measures.asking.KINDS`."""
        return f"{self.root}/experiments/{model}.{kind}.parquet"

    def personas(self, model: Model, kind: str) -> str:
        """`kind` is "outputs", "answers", "sentences" or "clusters"."""
        return f"{self.root}/personas/{model}.{kind}.parquet"

    def semantic(self, model: Model, kind: str) -> str:
        """`kind` is "outputs" or "values"."""
        return f"{self.root}/semantic/{model}.{kind}.parquet"

    def feature_answers(self, model: Model) -> str:
        return f"{self.root}/features/answers/{model}.parquet"

    def pair_features(self, data: str) -> str:
        return f"{self.root}/features/pairs/{data}.parquet"

    def answer_features(self, model: Model) -> str:
        return f"{self.root}/features/{model}.parquet"

    def repetition(self, model: Model) -> str:
        return f"{self.root}/repetition/{model}.parquet"

    def judgements(self, judgement: object) -> str:
        """`judgement` is a `judging.comparisons.Judgement`."""
        return f"{self.root}/judgements/{judgement}.parquet"

    def sheet(self, judgement: object, suffix: str) -> str:
        """The sheet that people label: a page, the same as CSV, or the pairs that it shows."""
        return f"{self.root}/sheets/{judgement}.{suffix}"

    def judged_pairs(self, suffix: str) -> str:
        return f"{self.root}/tables/judged_pairs.{suffix}"

    def data_cards(self, suffix: str) -> str:
        return f"{self.root}/tables/data_cards_page.{suffix}"

    def coloured_tokens(self, suffix: str) -> str:
        return f"{self.root}/tables/coloured_tokens.{suffix}"

    def embeddings(self, size: str, seed: int | str) -> str:
        return f"{self.root}/embeddings/{size}/s{seed}.parquet"

    def scores(self, model: Model) -> str:
        return f"{self.root}/scores/{model}.parquet"

    def table(self, name: str) -> str:
        return f"{self.root}/tables/{name}.parquet"

    def table_csv(self, name: str) -> str:
        return f"{self.root}/tables/{name}.csv"

    def finding(self, suffix: str) -> str:
        return f"{self.root}/tables/finding.{suffix}"

    def figure(self, name: str, suffix: str) -> str:
        return f"{self.root}/figures/{name}.{suffix}"

    def log(self, rule: str, name: object) -> str:
        return f"{self.logs()}/{rule}/{name}.log"

    def logs(self) -> str:
        """Beside the results in the working directory, within them elsewhere: two studies of one name may log."""
        return f"logs/{self.root.name}" if self.root.parent == Path("results") else f"{self.root}/logs"
