"""Pure policy: what to do next, given what is known. Time and chance are arguments."""
