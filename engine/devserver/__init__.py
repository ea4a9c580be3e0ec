"""A SpeechStream service on this machine: the embedded default behind ``speechstream serve`` and ``--local``.

It imports nothing of the client: a server that shared the client's parsers would share its bugs.
``config.Config`` says how it runs, ``app.create_app`` builds the ASGI application, ``server.serve``
runs it until told to stop, and ``python -m engine.devserver`` is the same from a shell. The package
itself imports nothing, so that the transcriber's process starts without a web framework.
"""
