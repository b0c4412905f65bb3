"""The command ``rtmedia``: one file per command, one for each idea that several of them share.

Commands import the engine, numba and the sound library inside themselves, so that ``rtmedia --help`` needs none of them.
"""
