"""Other systems, started and loaded on this machine beside ours. None is a dependency: what is missing is said.

`etcd.py` is the one that every ratio is taken against; `zookeeper.py` and `pysyncobj.py` are for the table of figures.
"""
