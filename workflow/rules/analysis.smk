# From a cube to estimates, verdicts and figures.


rule fit:
    input:
        "results/{experiment}/cube.nc",
    output:
        "results/{experiment}/fits/{fit}.nc",
    log:
        text="results/{experiment}/logs/fit-{fit}.log",
        spool="results/{experiment}/logs/fit-{fit}.jsonl",
    benchmark:
        "results/{experiment}/benchmarks/fit-{fit}.tsv"
    conda:
        "../../envs/python.yaml"
    resources:
        mem_mb=reading_memory_of,
    params:
        code=fingerprint("fit"),
    shell:
        "python -m sgdphases.steps.fit --fit {wildcards.fit} --cube {input} --output {output}"
        " --spool {log.spool} 2> {log.text}"


rule grade:
    input:
        cube="results/{experiment}/cube.nc",
        fits=fits_of,
    output:
        "results/{experiment}/claims.csv",
    log:
        text="results/{experiment}/logs/grade.log",
        spool="results/{experiment}/logs/grade.jsonl",
    benchmark:
        "results/{experiment}/benchmarks/grade.tsv"
    conda:
        "../../envs/python.yaml"
    resources:
        mem_mb=reading_memory_of,
    params:
        code=fingerprint("grade"),
        card=card_of,
        claims=claims_of,
    shell:
        "python -m sgdphases.steps.grade --card {params.card:q} --cube {input.cube} --claims {output}"
        " --spool {log.spool} {input.fits} 2> {log.text}"


rule ledger:
    input:
        expand("results/{experiment}/claims.csv", experiment=EXPERIMENTS),
    output:
        table=report(
            "results/claims.csv", category="claims", caption="../report/ledger.rst"
        ),
        page="results/claims.md",
    log:
        text="results/logs/ledger.log",
        spool="results/logs/ledger.jsonl",
    benchmark:
        "results/benchmarks/ledger.tsv"
    conda:
        "../../envs/python.yaml"
    params:
        code=fingerprint("ledger"),
    shell:
        "python -m sgdphases.steps.ledger --results results --ledger {output.table} --page {output.page}"
        " --spool {log.spool} {input} 2> {log.text}"


rule draw:
    input:
        cube="results/{experiment}/cube.nc",
        fits=fits_of,
    output:
        png=report(
            "results/{experiment}/figures/{figure}.png",
            category="{experiment}",
            caption="../report/figure.rst",
            labels={"figure": "{figure}"},
        ),
        svg="results/{experiment}/figures/{figure}.svg",
    log:
        text="results/{experiment}/logs/draw-{figure}.log",
        spool="results/{experiment}/logs/draw-{figure}.jsonl",
    benchmark:
        "results/{experiment}/benchmarks/draw-{figure}.tsv"
    conda:
        "../../envs/python.yaml"
    resources:
        mem_mb=reading_memory_of,
    params:
        code=fingerprint("draw"),
        card=card_of,
        drawing=drawing_of,
    shell:
        "python -m sgdphases.steps.draw --card {params.card:q} --figure {wildcards.figure} --cube {input.cube}"
        " --png {output.png} --svg {output.svg} --spool {log.spool} {input.fits} 2> {log.text}"
