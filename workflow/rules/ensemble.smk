# From a card to a cube: shards are resolved, trained, measured and merged.


rule resolve:
    output:
        "results/{experiment}/shards/{shard}.json",
    log:
        "results/{experiment}/logs/resolve-{shard}.log",
    benchmark:
        "results/{experiment}/benchmarks/resolve-{shard}.tsv"
    conda:
        "../../envs/python.yaml"
    params:
        card=card_of,
    shell:
        "python -m sgdphases.steps.resolve --card {params.card:q} --shard {wildcards.shard} --output {output} 2> {log}"


rule start:
    input:
        content=start_content_of,
        data=ancient(manifest_of),
    output:
        "results/{experiment}/start.nc",
    log:
        text="results/{experiment}/logs/start.log",
        spool="results/{experiment}/logs/start.jsonl",
    benchmark:
        "results/{experiment}/benchmarks/start.tsv"
    conda:
        "../../envs/python.yaml"
    resources:
        data=DATA,
        device=PROJECT.config.device,
        checkpoint_seconds=checkpoint_seconds_of,
        mem_mb=start_memory_of,
        runtime=start_minutes_of,
        gpu=PROJECT.gpus,
        device_memory=start_device_memory_of,
    params:
        code=start_code_of,
    shell:
        "python -m sgdphases.steps.start --content {input.content} --experiment {wildcards.experiment}"
        " --start {output} --data {resources.data:q} --manifest {input.data} --device {resources.device}"
        " --device-memory {resources.device_memory}"
        " --checkpoints results/{wildcards.experiment}/checkpoints/start-{params.code}"
        " --checkpoint-seconds {resources.checkpoint_seconds} --spool {log.spool} 2> {log.text}"


rule train:
    input:
        shard="results/{experiment}/shards/{shard}.json",
        start=start_of,
        # Data are verified against checksums: fetched again, they are the same, and no reason to train again.
        data=ancient(manifest_of),
    output:
        "results/{experiment}/records/{shard}.nc",
    log:
        text="results/{experiment}/logs/train-{shard}.log",
        spool="results/{experiment}/logs/train-{shard}.jsonl",
    benchmark:
        "results/{experiment}/benchmarks/train-{shard}.tsv"
    conda:
        "../../envs/python.yaml"
    threads: threads_of
    resources:
        # Not parameters: where data are, where a shard trains and how often it saves are no reasons to train it again.
        data=DATA,
        device=PROJECT.config.device,
        checkpoint_seconds=checkpoint_seconds_of,
        # What the scheduler is asked for follows from the shard's content.
        mem_mb=train_memory_of,
        runtime=train_minutes_of,
        gpu=PROJECT.gpus,
        device_memory=train_device_memory_of,
    params:
        code=train_code_of,
        start=start_option_of,
    shell:
        "python -m sgdphases.steps.train --shard {input.shard} --records {output} --data {resources.data:q}"
        " --manifest {input.data} --checkpoints results/{wildcards.experiment}/checkpoints/{wildcards.shard}-{params.code}"
        " --threads {threads} --device {resources.device} --device-memory {resources.device_memory}"
        " --checkpoint-seconds {resources.checkpoint_seconds} --spool {log.spool} {params.start} 2> {log.text}"


rule measure:
    input:
        records="results/{experiment}/records/{shard}.nc",
        data=ancient(manifest_of),
    output:
        "results/{experiment}/measured/{shard}.nc",
    log:
        text="results/{experiment}/logs/measure-{shard}.log",
        spool="results/{experiment}/logs/measure-{shard}.jsonl",
    benchmark:
        "results/{experiment}/benchmarks/measure-{shard}.tsv"
    conda:
        "../../envs/python.yaml"
    threads: threads_of
    resources:
        data=DATA,
        mem_mb=reading_memory_of,
        runtime=train_minutes_of,
    params:
        code=measure_code_of,
        card=card_of,
        observables=measures_of,
    shell:
        "python -m sgdphases.steps.measure --records {input.records} --card {params.card:q} --measured {output}"
        " --data {resources.data:q} --threads {threads} --spool {log.spool} 2> {log.text}"


rule merge:
    input:
        measured=measured_of,
        start=start_of,
    output:
        "results/{experiment}/cube.nc",
    log:
        text="results/{experiment}/logs/merge.log",
        spool="results/{experiment}/logs/merge.jsonl",
    benchmark:
        "results/{experiment}/benchmarks/merge.tsv"
    conda:
        "../../envs/python.yaml"
    resources:
        mem_mb=reading_memory_of,
    params:
        code=fingerprint("merge"),
        card=card_of,
        layout=layout_of,
        start=start_option_of,
    shell:
        "python -m sgdphases.steps.merge --card {params.card:q} --cube {output} --spool {log.spool}"
        " {params.start} {input.measured} 2> {log.text}"
