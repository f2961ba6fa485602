import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  AlignTokError,
  bytesPerElement,
  dtypes,
  type NdArray,
  sizeOf,
  viewBytes,
} from "@aligntok/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseSafetensors, serializeSafetensors } from "../src/index.ts";

const golden = new Uint8Array(
  readFileSync(join(import.meta.dirname, "fixtures/golden.safetensors")),
);
const headerEnd = 8 + Number(new DataView(golden.buffer).getBigUint64(0, true));

/** Parses, or fails with an AlignTokError; anything else fails the test. */
function survives(bytes: Uint8Array): void {
  try {
    for (const { shape, dtype, data } of Object.values(parseSafetensors(bytes).tensors)) {
      expect(data.byteLength).toBe(sizeOf(shape) * bytesPerElement(dtype));
    }
  } catch (error) {
    if (!AlignTokError.isInstance(error)) throw error;
    expect(error.message.length).toBeLessThan(2000);
  }
}

function withHeader(json: string, data: Uint8Array): Uint8Array {
  const header = new TextEncoder().encode(json);
  const bytes = new Uint8Array(8 + header.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
  bytes.set(header, 8);
  bytes.set(data, 8 + header.length);
  return bytes;
}

test("bytes of the header changed at random", () => {
  const edit = fc.tuple(
    fc.integer({ min: 0, max: headerEnd - 1 }),
    fc.integer({ min: 0, max: 255 }),
  );
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 6 }), (edits) => {
      const bytes = golden.slice();
      for (const [at, value] of edits) bytes[at] = value;
      survives(bytes);
    }),
    { numRuns: 3000 },
  );
});

test("fields of the header replaced by any JSON value", () => {
  const header = JSON.parse(new TextDecoder().decode(golden.subarray(8, headerEnd)));
  const number = fc.constantFrom(-1, 0, 1, 3, 4, 0.5, 2 ** 31, 2 ** 32, 2 ** 53, 1e300);
  const value = fc.oneof(
    fc.jsonValue(),
    number,
    fc.array(number, { maxLength: 5 }),
    fc.constantFrom("F32", "F8_E4M3", "U8", "__proto__", null, [], {}),
  );
  const change = fc.record({
    tensor: fc.constantFrom(...Object.keys(header), "__proto__", "new"),
    field: fc.constantFrom("dtype", "shape", "data_offsets", undefined),
    value,
  });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
      const entries = new Map<string, unknown>(Object.entries(structuredClone(header)));
      for (const { tensor, field, value } of changes) {
        const old = entries.get(tensor);
        entries.set(tensor, field && typeof old === "object" ? { ...old, [field]: value } : value);
      }
      const json = JSON.stringify(Object.fromEntries(entries));
      survives(withHeader(json, golden.subarray(headerEnd)));
    }),
    { numRuns: 2000 },
  );
});

test("any bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (noise, framed) =>
      survives(framed ? withHeader(new TextDecoder().decode(noise), noise) : noise),
    ),
    { numRuns: 1000 },
  );
});

test("whatever is written is read back", () => {
  const array = fc
    .record({
      dtype: fc.constantFrom(...dtypes),
      shape: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 }),
      seed: fc.integer({ min: 0, max: 255 }),
    })
    .map(({ dtype, shape, seed }): NdArray => {
      const length = sizeOf(shape) * bytesPerElement(dtype);
      const bytes = Uint8Array.from({ length }, (_, i) => (i * 31 + seed) % 256);
      return viewBytes(bytes, shape, dtype);
    });
  const name = fc.string({ unit: "grapheme" }).filter((text) => text !== "__metadata__");
  fc.assert(
    fc.property(
      fc.dictionary(name, array, { noNullPrototype: true }),
      fc.dictionary(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" }), {
        noNullPrototype: true,
      }),
      (tensors, metadata) => {
        const bytes = serializeSafetensors(tensors, { metadata });
        expect(parseSafetensors(bytes)).toEqual({ tensors, metadata });
      },
    ),
    { numRuns: 500 },
  );
});
