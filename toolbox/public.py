"""Every public name, by module. What is not listed here may change between two versions.

docs/python.md describes those of `toolbox` itself, docs/building-blocks.md those of the studies. A
test holds this list to the modules.
"""

PUBLIC: dict[str, tuple[str, ...]] = {
    "toolbox": (
        "Diverged", "FinishedRun", "Interrupted", "ParameterError", "StudyError", "TableError",
        "ToolboxError", "UsageError", "load", "plot", "run", "runs", "table", "verdicts",
    ),
    "toolbox.studies.gd.model": ("NAMES", "chebyshev", "schedule"),
    "toolbox.studies.gd.worst_case": ("WorstCase", "worst_case", "worst_case_of"),
    "toolbox.studies.gd.pep": ("PepValue", "worst_case_pep"),
    "toolbox.studies.icl.tasks": ("Task", "make"),
    "toolbox.studies.icl.no_context": ("Optimum", "of", "optimum", "plateaus"),
    "toolbox.studies.recall.data": (
        "Task", "all_queries", "association", "counts", "prompts", "random_facts",
        "random_queries", "structured_facts", "unit_rows",
    ),
    "toolbox.studies.recall.memory": ("Memory", "Shape", "superposition_accuracy"),
    "toolbox.studies.recall.theory": (
        "association_bits", "superposition_finite", "superposition_prediction",
    ),
    "toolbox.studies.multiindex.link": ("Link", "parse_link"),
    "toolbox.studies.multiindex.theory": ("Crossing", "correlation", "flow", "velocity"),
    "toolbox.studies.scb.data": (
        "Batch", "Sampler", "Task", "correlated_transition", "draw_task", "stationary",
    ),
    "toolbox.studies.scb.model": ("start",),
    "toolbox.studies.scb.theory": ("excess_loss", "trivial_excess"),
    "toolbox.studies.flows.api": ("central_flow",),
    "toolbox.studies.flows.layers": ("Norm", "GroupNorm"),
    "toolbox.studies.tape.encodings": ("frequencies", "rotate", "rotation"),
    "toolbox.studies.tape.state": ("Update",),
    "toolbox.studies.tape.model": ("Decoder", "Shape"),
    "toolbox.studies.refuel.methods": ("refuel_loss",),
    "toolbox.studies.refuel.lm": ("Refuel", "Settings"),
    "toolbox.studies.marl.data": ("Log", "Rewards", "subsets"),
    "toolbox.studies.marl.model": ("fit", "fit_vdn"),
}  # fmt: skip
