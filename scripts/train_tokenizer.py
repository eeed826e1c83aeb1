"""Train the tokenizer of the models that are pretrained here."""

from pathlib import Path

from modecollapse.jobs.running import running
from modecollapse.jobs.tokenizers import train_tokenizer

if __name__ == "__main__":
    with running() as job:
        output = job.snakemake.output
        job.load("modecollapse.data.tokenizer", "transformers:PreTrainedTokenizerFast")
        train_tokenizer(
            job.spec, [Path(path) for path in job.snakemake.input], Path(output.directory), Path(output.manifest)
        )
