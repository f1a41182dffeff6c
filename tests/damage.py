"""Damage to files, as disks and kills do it."""

from pathlib import Path

DAMAGES = ("empty", "torn", "flipped", "deleted")


def damage(file: Path, how: str) -> None:
    """Damage a file in one of the ways of DAMAGES."""
    content = bytearray(file.read_bytes())
    if how == "deleted":
        file.unlink()
        return
    if how == "flipped":
        content[-3] ^= 1
    file.write_bytes({"empty": b"", "torn": content[:-5], "flipped": content}[how])
