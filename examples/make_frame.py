"""Write frame.npz, the example frame, to the directory of this script.

Monthly records of weather stations: rows by (station, month), columns by (measure, statistic).
The places are real; the weather is synthetic: a sine for the seasons, plus noise.
"""

import io
import zipfile
from pathlib import Path

import numpy as np
import static_frame as sf

# station: (mean temperature in °C, half the span between summer and winter, rain in mm a month)
STATIONS = {
    "Bergen": (7.8, 6.5, 200),
    "Kraków": (8.9, 11.0, 56),
    "Lisboa": (17.4, 6.0, 60),
    "Reykjavík": (5.2, 5.5, 73),
    "Tromsø": (3.3, 7.5, 86),
    "Zürich": (9.8, 9.5, 95),
}
MONTHS = np.arange("2020-01", "2025-01", dtype="M8[M]")
WINDS = ["N", "NE", "E", "SE", "S", "SW", "W", "NW"]


def weather_of(station, noise):
    """Return the columns of a station, each an array with one value for each month."""
    mean, span, rain = STATIONS[station]
    month = np.arange(len(MONTHS))
    season = -np.cos(2 * np.pi * month / 12)  # coldest in January, warmest in July
    temperature = mean + span * season + noise.normal(0, 1.2, len(month))
    precipitation = rain * noise.gamma(4, 0.25, len(month))
    sunshine = 150 + 90 * season + noise.normal(0, 15, len(month))
    first_day, next_first_day = MONTHS.astype("M8[D]"), (MONTHS + 1).astype("M8[D]")
    day = noise.randint(0, (next_first_day - first_day).astype(int))
    # Rounding removes the last bits, in which mathematical libraries differ.
    return {
        ("temperature", "mean"): temperature.round(1),
        ("temperature", "min"): (temperature - noise.uniform(6, 12, len(month))).round(1),
        ("temperature", "max"): (temperature + noise.uniform(6, 12, len(month))).round(1),
        ("precipitation", "total"): precipitation.round(1),
        ("precipitation", "days"): (1.3 * np.sqrt(precipitation)).astype("i2"),
        ("sunshine", "hours"): sunshine.clip(0).astype("i2"),
        ("wind", "gust"): noise.gamma(9, 2, len(month)).round().astype("f4"),
        ("wind", "direction"): noise.choice(WINDS, len(month)),
        ("record", "wettest day"): first_day + day,
        ("record", "complete"): noise.uniform(size=len(month)) < 0.95,
    }


def make_frame():
    noise = np.random.RandomState(2024)  # NumPy guarantees a stable sequence
    stations = [weather_of(station, noise) for station in STATIONS]
    labels = list(stations[0])
    months = sf.IndexYearMonth(MONTHS)
    return sf.Frame.from_items(
        ((label, np.concatenate([weather[label] for weather in stations])) for label in labels),
        index=sf.IndexHierarchy.from_product(list(STATIONS), months, name=("station", "month")),
        columns_constructor=sf.IndexHierarchy.from_labels,
        name="weather",
    ).rename(columns=("measure", "statistic"))


def write(frame, path):
    """Store a frame with `to_npz`, without the current time that it sets for the metadata."""
    buffer = io.BytesIO()
    frame.to_npz(buffer, consolidate_blocks=True)
    with zipfile.ZipFile(buffer) as dated, zipfile.ZipFile(path, "w") as archive:
        for name in dated.namelist():
            # The default date is 1980. Like NumPy, StaticFrame writes ZIP64 fields for all members.
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                member.write(dated.read(name))


if __name__ == "__main__":
    write(make_frame(), Path(__file__).with_name("frame.npz"))
