"""Parts that the bulk jobs on Ray Data share: plan of a run, report of a run, connection to Ray."""
