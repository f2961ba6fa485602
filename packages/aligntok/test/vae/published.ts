import { readFile } from "node:fs/promises";
import type { NdArray } from "@aligntok/core";

/** Arrays of the names and shapes of a published checkpoint, which hold zeros once somebody looks. */
export async function publishedTensors(name: string): Promise<Record<string, NdArray<"float32">>> {
  const path = new URL(`../fixtures/vae/keys-${name}.txt`, import.meta.url);
  const lines = (await readFile(path, "utf8")).trim().split("\n");
  return Object.fromEntries(
    lines.map((line) => {
      const [key = "", sizes = ""] = line.split(" ");
      const shape = sizes === "-" ? [] : sizes.split("x").map(Number);
      const array: NdArray<"float32"> = {
        dtype: "float32",
        shape,
        get data() {
          return new Float32Array(shape.reduce((product, n) => product * n, 1));
        },
      };
      return [key, array];
    }),
  );
}
