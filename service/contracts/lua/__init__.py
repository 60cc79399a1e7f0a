"""The Lua scripts: every atomic step in Redis.

Sent whole with EVAL, which Redis caches by content: so a restarted server needs no reload, and a pipeline needs no
extra round trip to check for loaded scripts.
"""

from importlib.resources import files


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


READ = _read("read.lua")
RECORD = _read("record.lua")
CLAIM = _read("claim.lua")
COMPLETE = _read("complete.lua")
RELEASE = _read("release.lua")
REVIVE = _read("revive.lua")
DUE = _read("due.lua")
FLIP = _read("flip.lua")
FORGET = _read("forget.lua")
HURRY = _read("hurry.lua")
LET_GO = _read("let_go.lua")
LOOK = _read("look.lua")
NOTE = _read("note.lua")
