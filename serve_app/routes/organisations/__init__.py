"""The routes about organisations: their keys, their audit log and, for the operator, the organisations
themselves.
"""
