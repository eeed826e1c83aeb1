"""Remove the least recently used entries of the store until it is within its limit."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        limit = job.snakemake.config["store_limit_gb"]
        removed = job.store.prune(int(float(limit) * 1e9))
        freed = sum(size for _, size in removed) / 1e9
        print(f"{job.store.root}: {len(removed)} entries removed, {freed:.2f} GB; the limit is {limit} GB.")
