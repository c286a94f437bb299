# `snakemake --cores 8` from here: the workflow itself is workflow/Snakefile.
include: "workflow/Snakefile"
