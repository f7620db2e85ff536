"""The only doors to the outside world, one module each: commands, databases, threads, places.

Nothing above this folder starts a process, opens a database or asks where the home directory is.
"""
