"""The models behind scored answers, as jobs find them on disk: the one that answers, and what scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modecollapse.data.nano.world import WorldSettings
from modecollapse.manifest import read_manifest
from modecollapse.methods.base import RewardSource


@dataclass(frozen=True)
class AnswerSources:
    """What candidates come from, and what scores them: directories of weights, and their manifests."""

    weights: Path
    manifest: Path
    reward: str
    """The name of the reward stage, or of the function."""
    reward_weights: Path | None = None
    """None for a function."""
    reward_manifest: Path | None = None

    def digests(self) -> dict[str, str]:
        """The digests of both models, after checking every byte of them.

        Raises:
            CorruptFile: weights are not those of their manifest.
        """
        parent = read_manifest(self.manifest)
        parent.verify(self.weights)
        digests = {"weights": parent.weights}
        if self.reward_weights and self.reward_manifest:
            reward = read_manifest(self.reward_manifest)
            reward.verify(self.reward_weights)
            digests["reward"] = reward.weights
        return digests

    @property
    def scored_by(self) -> RewardSource:
        """What scores answers."""
        return RewardSource(self.reward, self.reward_weights)


def world_of(reward: Mapping[str, Any]) -> WorldSettings | None:
    """The world that the reward in a spec judges by; None if it needs none."""
    world = reward.get("world")
    return WorldSettings.model_validate(world["settings"], strict=False) if world else None
