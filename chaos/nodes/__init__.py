"""The simulated world at the depth of whole nodes: the shipped node code on a clock that jumps, memory links and a disk
that breaks. Nothing of replica/runtime is replaced but what replica/runtime/outside.py names."""
