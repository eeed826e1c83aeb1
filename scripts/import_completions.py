"""Turn files of finished completions into the cells of one model."""

from pathlib import Path

from modecollapse.jobs.generations import import_completions
from modecollapse.jobs.running import running
from modecollapse.specs import import_spec

if __name__ == "__main__":
    with running() as job:
        study, model = job.planned(import_spec)
        import_completions(
            {cell: Path(study.paths.cell(cell)) for cell in study.cells(model)},
            job.spec,
            {name: study.completions_file(model, name) for name in study.prompts},
            {name: prompts.ids() for name, prompts in study.prompts.items()},
            job.store,
        )
