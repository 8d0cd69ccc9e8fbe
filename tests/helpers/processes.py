"""What the tests ask of processes."""

from pathlib import Path


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie that its new parent has not waited for has ended too)."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
