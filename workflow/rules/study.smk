# The study: everything else reads `study` and `paths`, and nothing else decides what is built.

from modecollapse import specs
from modecollapse.cells import Model, ModelData
from modecollapse.epochs import epoch_stage
from modecollapse.guard_rails.specs import candidates_spec, merits_spec
from modecollapse.jobs.downloading import require_downloads_or_exit
from modecollapse.jobs.summary import failing_in_words, print_summary
from modecollapse.judging import specs as judging_specs
from modecollapse.judging.comparisons import Judgement
from modecollapse.judging.keys import require_keys_or_exit
from modecollapse.people import require_labels_or_exit
from modecollapse.resources.demands import Demands
from modecollapse.resources.gpus import require_gpus_or_exit
from modecollapse.resources.machine import read_limits, read_machine
from modecollapse.resources.plan import print_plan_and_exit
from modecollapse.resources.scheduling import stop_looking_again
from modecollapse.resources.slurm import print_refusals, require_slurm_or_exit
from modecollapse.serving.installation import require_engine_or_exit
from modecollapse.study_files import claim_results_or_exit, load_study_or_exit
from modecollapse.targets import Targets

study = load_study_or_exit(config, Path(workflow.basedir) / "config")
# For the report's front page.
config["about"] = {**study.about(), "failing": failing_in_words(study)}
paths = study.paths
targets = Targets(study)
demands = Demands(study, read_machine(config), read_limits(config))

# Slurm signals every process of a job. The shell around a script must not end before it does: Snakemake would take the
# job for failed, and its step be torn down, while the script still keeps what it has made.
shell.prefix("set -euo pipefail; trap : TERM USR1; ")

ANY = Model("{size}", "{seed}", "{stage}")
ANY_RUN = Model("{size}", "{seed}", "{run}")
ANY_MODEL_DATA = ModelData("{size}", "{seed}", "{data}")
ANY_JUDGEMENT = Judgement("{judge}", ANY)


def model_of(wildcards):
    """The model that a job is about."""
    return Model(wildcards.size, int(wildcards.seed), wildcards.stage)


def reference_scores_of(wildcards):
    """The reference log-probabilities that a job is about."""
    return targets.reference_scores(model_of(wildcards), wildcards.pairs)


def model_data_of(wildcards):
    """The data set of a single model that a job is about."""
    return ModelData(wildcards.size, int(wildcards.seed), wildcards.data)


def judgement_of(wildcards):
    """The judge and the model that a job is about."""
    return Judgement(wildcards.judge, model_of(wildcards))


def first_epoch(wildcards):
    """The first model that a job makes whose run keeps the model of every epoch."""
    return Model(wildcards.size, int(wildcards.seed), epoch_stage(wildcards.run, 1))


wildcard_constraints:
    size="|".join(map(re.escape, study.config.models)) or "none",
    seed="|".join(map(str, study.config.seeds)),
    stage="|".join(map(re.escape, study.stages)) or "none",
    data="|".join(map(re.escape, study.config.data)) or "none",


report: "../report/workflow.rst"


onstart:
    print_plan_and_exit(demands, workflow.dag)
    stop_looking_again(workflow.scheduler)
    require_slurm_or_exit(workflow)
    require_gpus_or_exit(workflow, demands.machine.gpus_per_node)
    require_engine_or_exit(
        study,
        demands.machine,
        Path(workflow.basedir),
        {job.rule.name for job in workflow.dag.needrun_jobs()},
    )
    require_keys_or_exit(
        study,
        {
            job.wildcards.judge
            for job in workflow.dag.needrun_jobs()
            if job.rule.name == "judge_by_endpoint"
        },
    )
    require_downloads_or_exit(study, targets.needed_by(workflow.dag.needrun_jobs()))
    require_labels_or_exit(study, workflow.dag.needrun_jobs())
    claim_results_or_exit(study)


onsuccess:
    print_summary(study)


onerror:
    print_refusals(log)
