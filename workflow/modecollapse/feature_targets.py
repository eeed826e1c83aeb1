"""What the rules of text features read and write."""

from modecollapse.cells import Model
from modecollapse.paths import Paths
from modecollapse.study import Study


class FeatureTargets:
    """Those of one study."""

    study: Study
    paths: Paths

    def pair_feature_sets(self) -> list[str]:
        """The sets of preference pairs whose answers are compared."""
        settings = self.study.config.measures.text_features
        return list(settings.pair_sets) if settings else []

    def all_feature_answers(self) -> list[str]:
        """What each model answers to the prompts of these pairs."""
        return [self.paths.feature_answers(model) for model in self.study.models if self._is_asked(model)]

    def all_pair_features(self) -> list[str]:
        """The features of chosen and rejected answers, training pairs first."""
        return [self.paths.pair_features(name) for name in self.pair_feature_sets()]

    def all_answer_features(self) -> list[str]:
        """The features of what each model answers."""
        settings = self.study.config.measures.text_features
        models = self.study.answering() if settings else []
        return [
            self.paths.answer_features(model) for model in models if any(self.answer_feature_inputs(model).values())
        ]

    def answer_feature_inputs(self, model: Model) -> dict[str, list[str]]:
        """What the job reads that computes them, by name."""
        settings = self.study.config.measures.text_features
        assert settings is not None
        cells = [
            self.paths.cell(cell)
            for cell in self.study.cells(model)
            if cell.prompts in settings.prompts
            and (cell.format, cell.temperature) == (settings.format, settings.temperature)
        ]
        return {"answers": [self.paths.feature_answers(model)] if self._is_asked(model) else [], "cells": cells}

    def text_feature_tables(self) -> list[str]:
        """The tables of the rule `tabulate_text_features`."""
        names = ["text_features", "text_feature_rows", "text_feature_means"]
        if self.pair_feature_sets() and self.all_feature_answers():
            names.insert(1, "text_feature_alignment")
        return names if self.study.config.measures.text_features else []

    def _is_asked(self, model: Model) -> bool:
        return bool(self.pair_feature_sets()) and self.study.stage(model).writes
