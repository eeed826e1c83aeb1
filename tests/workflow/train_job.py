"""Run one training job, described by a JSON file, and kill this very process after a given number of updates."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any


def kill_after(updates: int) -> None:
    """Die by SIGKILL as soon as the process has made `updates` optimizer steps."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    count = 0

    def hook(*_: Any) -> None:
        nonlocal count
        count += 1
        if count == updates:
            os.kill(os.getpid(), signal.SIGKILL)

    register_optimizer_step_post_hook(hook)


def main(description: dict[str, Any], updates: int) -> None:
    """Build the job and run it until the kill."""
    from modecollapse.methods import METHODS
    from modecollapse.methods.architecture import ArchitectureSettings
    from modecollapse.methods.base import TrainingJob
    from modecollapse.prompts import PromptFormat

    method = METHODS[description["method"]]
    paths = {
        name: None if description[name] is None else Path(description[name])
        for name in ("output", "state", "parent", "tokenizer", "data")
    }
    kill_after(updates)
    method.run(
        TrainingJob(
            settings=method.settings.model_validate(description["settings"], strict=False),
            seed=description["seed"],
            threads=description["threads"],
            architecture=ArchitectureSettings(**description["architecture"]) if description["architecture"] else None,
            epoch_outputs=tuple(map(Path, description["epoch_outputs"])),
            format=PromptFormat(**description["format"]) if description["format"] else None,
            **paths,
        )
    )


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2]))
