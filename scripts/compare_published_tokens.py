"""Write the table of token statistics beside the published ones."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.tables")
        from modecollapse.jobs.tables import compare_published_tokens

        [tokens], [published] = job.inputs("tokens"), job.inputs("published")
        compare_published_tokens(job.spec, tokens, published, job.outputs())
