"""Lets any agent change any git repository: nobody loses work, and what was tested is what lands.

The front door: the public names, loaded when they are first asked for, and nothing else.
"""
