# `snakemake --cores 8` from here: the workflow itself is workflow/Snakefile.
include: "workflow/Snakefile"


# An included file has no say in what is made by default.
rule default:
    default_target: True
    input:
        rules.all.input,
