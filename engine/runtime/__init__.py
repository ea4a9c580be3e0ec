"""The only code of the client that touches disk, network, clock and processes."""
