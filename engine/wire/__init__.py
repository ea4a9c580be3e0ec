"""Protocols without I/O: each conversation is a generator that yields requests and is sent responses."""
