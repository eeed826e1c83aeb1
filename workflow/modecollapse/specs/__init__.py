"""Specs: one canonical JSON string per job, holding everything that can change its result and nothing else.

No paths, times, devices or batch splits. What a job reads from other jobs is not repeated here: Snakemake follows the
files, and the keys under which finished work is stored add their digests.
"""

from modecollapse.specs.answers import cell_spec, choice_spec, generation_spec, import_spec
from modecollapse.specs.cards import data_cards_spec
from modecollapse.specs.data import data_spec, label_spec, sampled_spec, sheet_spec, tokenizer_spec
from modecollapse.specs.derived import derived_spec, filters_spec, own_answers_spec
from modecollapse.specs.experiments import (
    continuations_spec,
    experiments_spec,
    probes_table_spec,
    top_entropy_table_spec,
)
from modecollapse.specs.features import (
    answer_features_spec,
    feature_answers_spec,
    pair_features_spec,
    text_features_table_spec,
)
from modecollapse.specs.figures import figure_spec
from modecollapse.specs.measures import (
    benchmark_spec,
    benchmarks_spec,
    divergence_spec,
    embedding_spec,
    repetition_spec,
    rewards_spec,
    score_spec,
    semantic_spec,
    tokens_spec,
    toy_bandit_spec,
    truth_spec,
)
from modecollapse.specs.models import model_spec, reference_spec, run_spec
from modecollapse.specs.parts import reward_part
from modecollapse.specs.personas import personas_spec, personas_table_spec
from modecollapse.specs.tables import (
    analysis_spec,
    comparison_spec,
    costs_spec,
    format_effect_spec,
    label_agreement_spec,
    lineage_table_spec,
    published_tokens_spec,
    reward_table_spec,
)

__all__ = [
    "analysis_spec",
    "answer_features_spec",
    "benchmark_spec",
    "benchmarks_spec",
    "cell_spec",
    "choice_spec",
    "comparison_spec",
    "continuations_spec",
    "costs_spec",
    "data_cards_spec",
    "data_spec",
    "derived_spec",
    "divergence_spec",
    "embedding_spec",
    "experiments_spec",
    "feature_answers_spec",
    "figure_spec",
    "filters_spec",
    "format_effect_spec",
    "generation_spec",
    "import_spec",
    "label_agreement_spec",
    "label_spec",
    "lineage_table_spec",
    "model_spec",
    "own_answers_spec",
    "pair_features_spec",
    "personas_spec",
    "personas_table_spec",
    "probes_table_spec",
    "published_tokens_spec",
    "reference_spec",
    "repetition_spec",
    "reward_part",
    "reward_table_spec",
    "rewards_spec",
    "run_spec",
    "sampled_spec",
    "score_spec",
    "semantic_spec",
    "sheet_spec",
    "text_features_table_spec",
    "tokenizer_spec",
    "tokens_spec",
    "top_entropy_table_spec",
    "toy_bandit_spec",
    "truth_spec",
]
