"""The console, a web page for people that shows and controls the cluster: its files and the route that serves
them.
"""
