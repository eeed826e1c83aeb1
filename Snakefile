# modecollapse: which step of a language model's fine-tuning costs how much diversity?
#
#   snakemake                                      the embedded study `nano`
#   snakemake --config study=NAME                  a study of config/studies, or the path of your own file
#   snakemake models | generations | tables | figures | labelling_sheets | plan | download | verify | prune

from snakemake.utils import min_version

min_version("9.27")


configfile: str(Path(workflow.basedir) / "config" / "config.yaml")


# The study is read and validated as a whole; an error here names the key and what to do next.
include: "workflow/rules/study.smk"
# Phases: each theme declares what is made from what.
include: "workflow/rules/download.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/labels.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/creativity.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/analyse.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"


# Targets. Intermediate files are targets too: only then is a deleted one noticed.
rule all:
    default_target: True
    input:
        rules.models.input,
        rules.generations.input,
        rules.measurements.input,
        rules.tables.input,
        rules.figures.input,


# Prints what all of it takes, and ends before the first job (see `onstart`).
rule plan:
    input:
        rules.all.input,
