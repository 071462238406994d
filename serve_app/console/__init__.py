"""Contains the console, a web page for people that shows and controls the cluster. ``static`` has the
files of the page, and ``console_files`` has the routes that send these files.
"""
