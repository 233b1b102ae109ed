"""A TFLite delegate, such as that of the Edge TPU, in a process that may die at any time."""
