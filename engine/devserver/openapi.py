"""The OpenAPI 3.1 description of the service."""


def describe(version: str) -> dict[str, object]:
    """The description as a JSON object."""
    return {"openapi": "3.1.0", "info": {"title": "SpeechStream", "version": version}, "paths": {}}
