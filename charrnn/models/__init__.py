"""Models: cells composed into something with a likelihood, and the heads that end a sequence."""
