"""Archives and tables of small images as Python writes them, for packages/data-laion/test/archives.test.ts.

    python tools/golden/data-laion-archives.py

Parquet as Hugging Face's datasets lay it out (pyarrow), zip archives stored, deflated and zip64 (zipfile).
"""

import io
import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

folder = Path(__file__).parents[2] / "packages/data-laion/test/fixtures/archives"
folder.mkdir(parents=True, exist_ok=True)


def png(i: int) -> bytes:
    """A gray image whose every pixel is 10 i."""
    buffer = io.BytesIO()
    Image.new("RGB", (4 + i, 3), (10 * i,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


def table(count: int, path=lambda i: f"cat_{i}.png") -> pa.Table:
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {
        "image": {"_type": "Image"},
        "label": {"_type": "ClassLabel", "names": ["cat", "dog"]},
        "text": {"_type": "Value", "dtype": "string"},
    }
    return pa.table(
        {
            "image": pa.array([{"bytes": png(i), "path": path(i)} for i in range(count)], image),
            "label": pa.array([i % 2 for i in range(count)], pa.int64()),
            "text": pa.array([f"number {i} ü" if i != 1 else None for i in range(count)]),
        }
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


pq.write_table(table(7), folder / "datasets.parquet", row_group_size=3, compression="snappy")
pq.write_table(table(2, lambda i: None), folder / "no-paths.parquet", compression="zstd")
binary = pa.table(
    {
        "jpg": pa.array([png(i) for i in range(3)], pa.binary()),
        "mask": pa.array([png(5) for _ in range(3)], pa.binary()),
        "__key__": ["a", "b", "c"],
        "label": ["dog", "cat", "dog"],
    }
)
pq.write_table(binary, folder / "binary.parquet", compression="gzip")
pq.write_table(pa.table({"url": ["http://a"]}), folder / "urls.parquet")

with zipfile.ZipFile(folder / "classes.zip", "w") as archive:
    archive.writestr("photos/", b"")
    for i, name in enumerate(["dog/b.png", "cat/z/0.png", "cat/1.PNG"]):
        stored = zipfile.ZIP_STORED if i == 0 else zipfile.ZIP_DEFLATED
        archive.writestr(f"photos/{name}", png(i), stored)
    archive.writestr("photos/readme.txt", "no image")
    archive.writestr("__MACOSX/photos/cat/._1.PNG", "no image")
with zipfile.ZipFile(folder / "flat-zip64.zip", "w") as archive:
    for i in range(2):
        with archive.open(zipfile.ZipInfo(f"{i}.png"), "w", force_zip64=True) as member:
            member.write(png(i))
with zipfile.ZipFile(folder / "bzip2.zip", "w", zipfile.ZIP_BZIP2) as archive:
    archive.writestr("a.png", png(1))
