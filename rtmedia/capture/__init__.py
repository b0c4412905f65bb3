"""Captured sessions: what is written down while an engine plays, and how it is read again.

A capture holds the audio as it came and every transcript, in the clear. It holds no URL, no token and no credentials.
"""
