# The study: everything else reads `study` and `paths`, and nothing else decides what is built.

from modecollapse import specs
from modecollapse.cells import Model
from modecollapse.epochs import epoch_stage
from modecollapse.jobs.downloading import require_downloads_or_exit
from modecollapse.jobs.summary import print_summary
from modecollapse.slurm import print_refusals, require_slurm_or_exit
from modecollapse.study_files import claim_results, load_study_or_exit
from modecollapse.targets import Targets

study = load_study_or_exit(config, Path(workflow.basedir) / "config")
config["about"] = study.about()  # for the report's front page
paths = study.paths
targets = Targets(study)

ANY = Model("{size}", "{seed}", "{stage}")
ANY_RUN = Model("{size}", "{seed}", "{run}")


def model_of(wildcards):
    """The model that a job is about."""
    return Model(wildcards.size, int(wildcards.seed), wildcards.stage)


def first_epoch(wildcards):
    """The first model that a job makes whose run keeps the model of every epoch."""
    return Model(wildcards.size, int(wildcards.seed), epoch_stage(wildcards.run, 1))


wildcard_constraints:
    size="|".join(map(re.escape, study.config.models)),
    seed="|".join(map(str, study.config.seeds)),
    stage="|".join(map(re.escape, study.stages)),
    data="|".join(map(re.escape, study.config.data)) or "none",


report: "../report/workflow.rst"


onstart:
    require_slurm_or_exit(workflow)
    require_downloads_or_exit(study, targets.needed_by(workflow.dag.needrun_jobs()))
    claim_results(study)


onsuccess:
    print_summary(study)


onerror:
    print_refusals(log)
