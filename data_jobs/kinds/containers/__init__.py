"""Steps of the job that indexes an attached container: unpack the container, attach its entries, and wait for
the jobs of the entries.
"""
