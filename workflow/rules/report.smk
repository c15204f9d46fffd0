# Tracking: what the steps spooled, replayed into MLflow.


rule store:
    output:
        STORE_STAMP,
    log:
        "results/logs/store.log",
    benchmark:
        "results/benchmarks/store.tsv"
    conda:
        "../../envs/python.yaml"
    resources:
        # Not a parameter: one experiment more is no reason to track the others again.
        experiments=" ".join(EXPERIMENTS),
    params:
        uri=PROJECT.tracking_uri,
    shell:
        "python -m sgdphases.steps.store --uri {params.uri:q} --stamp {output} --experiments {resources.experiments} 2> {log}"


rule track:
    input:
        store=STORE_STAMP,
        cube="results/{experiment}/cube.nc",
        claims="results/{experiment}/claims.csv",
        figures=figures_of,
    output:
        "results/tracking/{experiment}.json",
    log:
        "results/{experiment}/logs/track.log",
    benchmark:
        "results/{experiment}/benchmarks/track.tsv"
    conda:
        "../../envs/python.yaml"
    resources:
        mem_mb=reading_memory_of,
    params:
        uri=PROJECT.tracking_uri,
        card=card_of,
    shell:
        "python -m sgdphases.steps.track --experiment {wildcards.experiment} --cube {input.cube}"
        " --claims {input.claims} --figures {input.figures} --card {params.card:q}"
        " --spools results/{wildcards.experiment}/logs --uri {params.uri:q} --stamp {output} 2> {log}"
