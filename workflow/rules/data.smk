# Data sets: fetched, verified, shared by all experiments.


rule download:
    output:
        "results/datasets/{dataset}.json",
    log:
        text="results/logs/download-{dataset}.log",
        spool="results/logs/download-{dataset}.jsonl",
    benchmark:
        "results/benchmarks/download-{dataset}.tsv"
    retries: 1
    conda:
        "../../envs/python.yaml"
    params:
        directory=DATA,
        mirrors=[
            word
            for mirror in PROJECT.config.data.mirrors
            for word in ("--mirrors", mirror)
        ],
    shell:
        "python -m sgdphases.steps.download --dataset {wildcards.dataset} --directory {params.directory}"
        " --manifest {output} {params.mirrors:q} --spool {log.spool} 2> {log.text}"
