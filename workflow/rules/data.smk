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
    threads: data_threads_of
    resources:
        # Not a parameter: other mirrors are no reason to fetch again.
        arguments=data_arguments_of,
    params:
        directory=DATA,
    shell:
        "python -m sgdphases.steps.download {resources.arguments} --directory {params.directory:q}"
        " --manifest {output} --threads {threads} --spool {log.spool} 2> {log.text}"
