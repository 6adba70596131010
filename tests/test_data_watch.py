"""The shipped smart-watch data: what the package carries and how it was made."""

import hashlib
import io
import json
import zipfile

import numpy as np
import pytest

from fedtiny.data import DataConfig, DataError
from fedtiny.data.simulated import deal
from fedtiny.data.watch import convert
from fedtiny.data.watch.recordings import FILE, read_recordings

PROVENANCE = json.loads((FILE.parent / "watch.json").read_text(encoding="utf-8"))


def test_package_carries_data_provenance_and_licence():
    assert FILE.stat().st_size < 4_000_000
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == PROVENANCE["sha256"]
    assert "Redistribution and use" in (FILE.parent / "LICENSE").read_text(encoding="utf-8")


def test_recordings_are_ten_people_doing_seven_exercises_with_each_arm():
    recordings = read_recordings()
    people, exercises, sides = (recordings[name] for name in ("person", "label", "side"))
    found = set(zip(people.tolist(), exercises.tolist(), sides.tolist(), strict=True))
    assert found == {(p, e, s) for p in range(1, 11) for e in range(7) for s in range(2)}
    assert len(people) == 140
    assert recordings["counts"].shape == (244_102, 6)


def test_counts_in_physical_units_are_plausible():
    """Gravity is 1 g: a wrong scale or channel order would show."""
    recordings = read_recordings()
    physical = recordings["counts"] * recordings["scale"]
    assert np.median(np.linalg.norm(physical[:, :3], axis=1)) == pytest.approx(1.07, abs=0.01)
    assert PROVENANCE["quantization"]["standard_deviation"] == pytest.approx(
        physical.std(axis=0), abs=1e-3
    )
    assert min(PROVENANCE["quantization"]["signal_to_error_db"]) > 70


def fake_wheel(path, source):
    """A wheel with the layout of the real one."""
    data = io.BytesIO()
    np.save(data, np.array(source, dtype=object), allow_pickle=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("seglearn/data/watch_dataset.npy", data.getvalue())
        archive.writestr("seglearn-1.2.5.dist-info/LICENSE", "the licence")


def test_conversion_keeps_every_reading_to_half_a_count(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    source = {
        "X": [generator.uniform(-5, 5, (length, 6)) for length in (30, 50)],
        "y": np.array([6, 0]),
        "subject": np.array([3, 1]),
        "side": np.array([1.0, 0.0]),
        "y_labels": list(convert.LABELS),
        "X_labels": ["ax", "ay", "az", "wx", "wy", "wz"],
    }
    wheel = tmp_path / "fake.whl"
    fake_wheel(wheel, source)
    monkeypatch.setattr(convert, "WHEEL_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    provenance = convert.convert(wheel, tmp_path)
    made = read_recordings(tmp_path / "watch.npz")
    error = np.abs(made["counts"] * made["scale"] - np.concatenate(source["X"]))
    assert (error <= made["scale"] / 2 + 1e-12).all()
    assert made["length"].tolist() == [30, 50]
    assert made["person"].tolist() == [3, 1]
    assert made["labels"][made["label"]].tolist() == ["upright row", "pendulum"]
    digest = hashlib.sha256((tmp_path / "watch.npz").read_bytes()).hexdigest()
    assert provenance["sha256"] == digest
    assert (tmp_path / "LICENSE").read_text(encoding="utf-8") == "the licence"


def test_conversion_refuses_another_wheel_before_unpickling(tmp_path):
    wheel = tmp_path / "other.whl"
    fake_wheel(wheel, {})
    with pytest.raises(DataError, match="not seglearn"):
        convert.convert(wheel, tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"length": lambda a: a[:-1]}, "wrong count: 244102 readings"),
        ({"person": lambda a: a[:-1]}, "wrong count: 139 persons"),
        ({"counts": lambda a: a.astype(np.float32)}, "expected .* int16"),
    ],
)
def test_damaged_recordings_are_named(tmp_path, change, reason):
    arrays = read_recordings()
    for name, alter in change.items():
        arrays[name] = alter(arrays[name])
    np.savez(tmp_path / "watch.npz", **arrays)
    with pytest.raises(DataError, match=reason):
        read_recordings(tmp_path / "watch.npz")


def test_window_longer_than_a_recording_is_refused():
    with pytest.raises(DataError, match="lower window"):
        deal(DataConfig(window=5000), seed=0)
