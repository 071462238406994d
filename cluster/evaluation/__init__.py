"""Measures how well agents answer questions whose right sources are known.

The command ``data_jobs.evaluate_agents`` asks the agents and calls this package. ``docs/evaluation.md``
describes the file of questions and the measures.

    golden, faults = read_golden(data, name="golden.jsonl")
    measures = measure_all(results)
"""
