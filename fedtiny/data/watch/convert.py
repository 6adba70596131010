"""Makes `watch.npz` from the wheel it comes from; run once, the result is in the repository.

    pip download --no-deps seglearn==1.2.5
    python -m fedtiny.data.watch.convert seglearn-1.2.5-py3-none-any.whl

Only this script unpickles, and only after the wheel's SHA-256 was compared.
"""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from fedtiny.command_line import CommandLine
from fedtiny.data.errors import bad_file

WHEEL_SHA256 = "ec6b952c85c9627050102854b372d85951563d3b990df677d7c55547e87413dd"
_DATA = "seglearn/data/watch_dataset.npy"
_LICENSE = "seglearn-1.2.5.dist-info/LICENSE"

LABELS = {  # the source's abbreviations, spelled out as in arXiv:1802.01489
    "PEN": "pendulum",
    "ABD": "abduction",
    "FEL": "forward elevation",
    "IR": "internal rotation",
    "ER": "external rotation",
    "TRAP": "trapezius extension",
    "ROW": "upright row",
}
UNITS = ("g", "g", "g", "rad/s", "rad/s", "rad/s")
# Powers of two are exact in binary: int16 spans ±8 g and ±32 rad/s, the readings ±5.9 and ±29.0.
SCALE = (2.0**-12,) * 3 + (2.0**-10,) * 3


def convert(wheel: Path, out: Path) -> dict[str, Any]:
    """Write watch.npz, watch.json (provenance) and LICENSE into `out`; return the provenance.

    Raises:
        DataError: the wheel is not seglearn 1.2.5's, or its readings do not fit int16.
    """
    content = wheel.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != WHEEL_SHA256:
        raise bad_file(wheel, f"not seglearn 1.2.5: SHA-256 is {found}, expected {WHEEL_SHA256}")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        source = np.load(io.BytesIO(archive.read(_DATA)), allow_pickle=True).item()
        license_text = archive.read(_LICENSE).decode()
    readings = np.concatenate([np.asarray(recording) for recording in source["X"]])
    counts = np.rint(readings / SCALE)
    if np.abs(counts).max() > np.iinfo(np.int16).max:
        raise bad_file(wheel, "a reading does not fit int16: raise SCALE")
    np.savez_compressed(
        out / "watch.npz",
        counts=counts.astype(np.int16),
        length=np.array([len(recording) for recording in source["X"]], np.int32),
        label=source["y"].astype(np.int32),
        person=source["subject"].astype(np.int32),
        side=source["side"].astype(np.int32),
        labels=np.array([LABELS[name] for name in source["y_labels"]]),
        channels=np.array(source["X_labels"]),
        units=np.array(UNITS),
        scale=np.array(SCALE),
    )
    digest = hashlib.sha256((out / "watch.npz").read_bytes()).hexdigest()
    provenance = _provenance(readings, counts, digest)
    (out / "watch.json").write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")
    (out / "LICENSE").write_text(license_text, encoding="utf-8")
    return provenance


def _provenance(
    readings: NDArray[np.float64], counts: NDArray[np.float64], digest: str
) -> dict[str, Any]:
    error = counts * SCALE - readings
    return {
        "title": "Smart-watch shoulder exercises",
        "source": "PyPI seglearn 1.2.5, " + _DATA,
        "source_sha256": WHEEL_SHA256,
        "author": "David M. Burns",
        "license": "BSD-3-Clause, see LICENSE beside this file",
        "paper": "arXiv:1802.01489",
        "made_by": "python -m fedtiny.data.watch.convert seglearn-1.2.5-py3-none-any.whl",
        "sha256": digest,
        "readings_per_s": 50,
        "units": "the source names none: g and rad/s follow from the magnitudes (median |a| = "
        f"{np.median(np.linalg.norm(readings[:, :3], axis=1)):.2f})",
        "arrays": {
            "counts": "(readings, 6) int16, the recordings one after another",
            "length": "(140,) readings of each recording",
            "label": "(140,) exercise, index into labels",
            "person": "(140,) 1 to 10",
            "side": "(140,) 0 left arm, 1 right arm",
            "scale": "(6,) units per count",
        },
        "quantization": {
            "scale": list(SCALE),
            "standard_deviation": [round(float(value), 4) for value in readings.std(axis=0)],
            "largest_error": [float(f"{value:.3g}") for value in np.abs(error).max(axis=0)],
            "signal_to_error_db": [
                round(float(10 * np.log10(r.var() / e.var())), 1)
                for r, e in zip(readings.T, error.T, strict=True)
            ],
        },
    }


cli = CommandLine()


@cli.command()
def watch(wheel: Annotated[Path, typer.Argument(help="seglearn-1.2.5-py3-none-any.whl")]) -> None:
    """Write watch.npz, watch.json and LICENSE beside this module; print the provenance."""
    print(json.dumps(convert(wheel, Path(__file__).parent), indent=2))


if __name__ == "__main__":
    cli()
