"""Own classes from a few pictures: a base model's features with a new head."""
