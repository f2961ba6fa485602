/** Named float32 rows as a Parquet table, written in row groups and never held in memory as a whole. */
import { open } from "node:fs/promises";
import { createGrowingFile } from "@aligntok/checkpoint";
import { sizeOf } from "@aligntok/core";
import type { SchemaElement } from "hyparquet-writer";
import type { ArrayFileContent } from "./array-file.ts";

/** Numbers in a row group; the writer takes about 40 bytes of memory for each. */
const groupSize = 2 ** 20;

/**
 * Columns `key` (string), `label` (whole number, where there are classes) and `features` (list of float32, or by the
 * name of the array); the shape of a row stands in the metadata as `shape`.
 *
 * @param rowsPath the rows as raw little-endian float32, one after the other
 */
export async function writeParquetRows(
  path: string,
  content: ArrayFileContent,
  rowsPath: string,
): Promise<void> {
  const { shape, keys, labels, name = "features" } = content;
  const { ByteWriter, ParquetWriter } = await import("hyparquet-writer");
  const [count = 0, ...rowShape] = shape;
  const width = sizeOf(rowShape);
  const step = Math.max(1, Math.floor(groupSize / width));
  const file = await createGrowingFile(path);
  const source = await open(rowsPath);
  const writer = new ByteWriter();
  async function flush(): Promise<void> {
    await file.append(writer.getBytes());
    writer.index = 0;
  }
  try {
    const parquet = new ParquetWriter({
      writer,
      codec: "UNCOMPRESSED", // features hardly compress
      schema: schemaOf(name, labels),
      kvMetadata: [{ key: "shape", value: JSON.stringify(rowShape) }],
      createdBy: "aligntok",
    });
    for (let start = 0; start < count; start += step) {
      const end = Math.min(start + step, count);
      const values = new Float32Array((end - start) * width);
      await source.read(new Uint8Array(values.buffer), { position: start * width * 4 });
      const rows = Array.from({ length: end - start }, (_, i) =>
        Array.from(values.subarray(i * width, (i + 1) * width)),
      );
      await parquet.write({
        rowGroupSize: step,
        columnData: [
          { name: "key", data: keys.slice(start, end) },
          ...(labels ? [{ name: "label", data: labels.slice(start, end) }] : []),
          { name, data: rows, encoding: "PLAIN", statistics: false },
        ],
      });
      await flush();
    }
    await parquet.finish();
    await flush();
    await file.finish();
  } finally {
    await source.close();
    await file.discard();
  }
}

function schemaOf(name: string, labels: ArrayFileContent["labels"]): SchemaElement[] {
  const required = { repetition_type: "REQUIRED" } as const;
  const type = labels instanceof Int32Array ? "INT32" : "INT64";
  return [
    { name: "root", num_children: labels ? 3 : 2 },
    { name: "key", type: "BYTE_ARRAY", converted_type: "UTF8", ...required },
    ...(labels ? [{ name: "label", type, ...required } as const] : []),
    { name, converted_type: "LIST", num_children: 1, ...required },
    { name: "list", repetition_type: "REPEATED", num_children: 1 },
    { name: "element", type: "FLOAT", ...required },
  ];
}
