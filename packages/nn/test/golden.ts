import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type NdArray, ndarray } from "@aligntok/core";

/** The float32 tensors of a safetensors fixture: eight bytes of length, a JSON header, the data. */
export function readGolden(name: string): Readonly<Record<string, NdArray<"float32">>> {
  const bytes = readFileSync(fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url)));
  const start = 8 + Number(bytes.readBigUInt64LE());
  const header: Record<string, { shape: number[]; data_offsets: [number, number] }> = JSON.parse(
    bytes.toString("utf8", 8, start),
  );
  return Object.fromEntries(
    Object.entries(header).map(
      ([
        key,
        {
          shape,
          data_offsets: [from, to],
        },
      ]) => {
        const data = new Uint8Array(bytes.subarray(start + from, start + to)); // copied, hence aligned
        return [key, ndarray(new Float32Array(data.buffer), shape)];
      },
    ),
  );
}
