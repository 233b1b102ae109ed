"""A TFLite delegate with faults on demand."""
