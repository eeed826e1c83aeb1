# The only rule that touches the network: what the study needs of the hub, locked beside the study file and fetched.


rule download:
    log:
        paths.log("download", "download"),
    localrule: True
    conda:
        "../../envs/models.yaml"
    params:
        spec="{}",
    script:
        "../../scripts/download.py"
