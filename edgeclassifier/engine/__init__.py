"""From pixels to labels: the runtime, the classifier, what prepares pictures for it."""
