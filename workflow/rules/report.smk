# Looking after what is there: check every published file; keep the store small.


rule verify:
    params:
        spec="{}",
    log:
        paths.log("verify", "verify"),
    conda:
        "../../envs/analysis.yaml"
    localrule: True
    script:
        "../../scripts/verify.py"


rule prune:
    params:
        spec="{}",
    log:
        paths.log("prune", "prune"),
    conda:
        "../../envs/analysis.yaml"
    localrule: True
    script:
        "../../scripts/prune.py"
