"""The boundary between vireid and the outside world: files it reads, files it writes, text it shows.

SECURITY.md states the rules that these modules enforce.
"""
