"""Resolve, lock and fetch what the study needs of the hub."""

from modecollapse.jobs.downloading import download
from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running(network=True) as job:
        print(download(job.study()))
