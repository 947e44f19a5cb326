"""The simulated world at the depth of sites: the world of nodes (chaos/nodes), given over to being apart. Milder faults
among the zones; at the sites every shape of cut, take-overs, backups that come back, clones, emptied disks, wrong
clocks; and people there who decide at the same time about the same cases."""
