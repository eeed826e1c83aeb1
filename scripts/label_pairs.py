"""Label candidate pairs as people or simulated annotators do, and keep those on which they agree."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.do_without("pandas")
        job.load("modecollapse.jobs.labelling")
        from modecollapse.jobs.labelling import label_pairs

        wildcards = job.snakemake.wildcards
        name = f"{wildcards.size}/s{wildcards.seed}/{wildcards.data}"
        label_pairs(job.spec, name, job.inputs("candidates")[0], job.inputs("files"), job.outputs())
