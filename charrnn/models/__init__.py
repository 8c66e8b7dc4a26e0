"""Models: cells combined into models with a likelihood, and the heads that end a sequence."""
