"""What schemathesis has to be told of tus. It imports no code of ours: another Python runs it."""

# schemathesis is installed where this module runs, never where it is type-checked.
import schemathesis  # type: ignore[import-not-found]

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
