"""The parts that bulk jobs on Ray Data share, such as the plan and the report of a run, and the connection to
Ray.
"""
