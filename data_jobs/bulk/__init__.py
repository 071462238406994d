"""Parts that the bulk jobs on Ray Data share: the plan of a run, its report, its connection to Ray."""
