# Treatments with simulated faults, drawn: what `hifuflow campaign` asks for.


rule campaigns:
    input:
        ask.every_campaign(),


rule campaign_part:
    input:
        rom=rules.reduce.output.rom,
        plant=f"{RESULTS}/fem/plant.h5",
        loads=ask.campaign_loads,
        outdated=ask.outdated(
            "campaign_part",
            f"{RESULTS}/campaign/{{controller}}/{{part}}.json",
            ask.campaign_part,
        ),
    output:
        f"{RESULTS}/campaign/{{controller}}/{{part}}.json",
    log:
        f"{RESULTS}/logs/campaign_{{controller}}_{{part}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/campaign_{{controller}}_{{part}}.tsv"
    wildcard_constraints:
        part=r"\d+",
    resources:
        mem_mb=ask.memory("control", "controller"),
        runtime=ask.campaign_minutes,
    params:
        config=ask.campaign_part,
        code=ask.code("campaign_part"),
    script:
        "../scripts/campaign_part.py"


rule campaign:
    input:
        rows=ask.campaign_rows,
        outdated=ask.outdated(
            "campaign", f"{RESULTS}/campaign/index.html", ask.campaign_settings
        ),
    output:
        page=f"{RESULTS}/campaign/index.html",
        table=f"{RESULTS}/campaign/campaign.csv",
    log:
        f"{RESULTS}/logs/campaign.log",
    benchmark:
        f"{RESULTS}/benchmarks/campaign.tsv"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        config=ask.campaign_settings,
        code=ask.code("campaign"),
    script:
        "../scripts/campaign.py"
