"""Tests of replica/storage: one battery for both stores, and what only real files and real kills can show."""
