"""A data lake whose layers are Dagster assets."""

import os

# Polars' allocator gives freed memory back after half a second, and a step's next batch asks for as much again: that
# took a tenth of its time. To be said before Polars is loaded, which adds it to its own words; the caller's stand.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:3000")
# Polars takes its streaming engine unless told otherwise, which takes three times as long over a step's small frames,
# and a tenth more over a batch of a hundred megabytes. Where rows of whole tables are counted it is asked for by name.
os.environ.setdefault("POLARS_ENGINE_AFFINITY", "in-memory")
