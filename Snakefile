from snakemake.utils import min_version

min_version("9.20")


configfile: workflow.source_path("config.yaml")


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/ensemble.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        "results/claims.csv",
        expand("results/tracking/{experiment}.json", experiment=EXPERIMENTS),
