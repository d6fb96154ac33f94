"""Settings of the server as a check reads them."""

from __future__ import annotations

from kit.evidence.model import Frames


def setting_text(frames: Frames, name: str) -> str | None:
    """Return a setting's value; None where it was not captured or the server does not know it."""
    if "settings" not in frames:
        return None
    frame = frames["settings"]
    values = frame.loc[frame["setting_name"] == name, "setting"].dropna()
    return None if values.empty else str(values.iloc[0])


def setting_number(frames: Frames, name: str) -> float | None:
    """Return a setting's value as a number, in the server's unit; None where it is not known."""
    text = setting_text(frames, name)
    return None if text is None else float(text)


def setting_row(frames: Frames, name: str) -> tuple[int, ...]:
    """Return the position of a setting in its frame, as evidence."""
    names = frames["settings"]["setting_name"].reset_index(drop=True)
    return tuple(int(position) for position in names.index[names == name])
