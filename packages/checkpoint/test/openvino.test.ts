import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sharedData } from "@aligntok/testing";
import { afterAll, expect, test } from "vitest";
import { openCheckpoint } from "../src/index.ts";

const folder = await mkdtemp(join(tmpdir(), "aligntok-openvino-"));
afterAll(() => rm(folder, { recursive: true }));
const xml = join(folder, "m.xml");

const layer = (data: string, name = "w", type = "Const") =>
  `<layer id="1" name="${name}" type="${type}"><data ${data}/></layer>`;
async function write(layers: string, bin = new Uint8Array(16)): Promise<void> {
  await writeFile(
    xml,
    `<?xml version="1.0"?>\n<net name="a" version="11"><!-- <layer> --><layers>${layers}</layers></net>`,
  );
  await writeFile(join(folder, "m.bin"), bin);
}

test("constants by the names of their layers, from the .xml and from the .bin", async () => {
  const bin = new Uint8Array(Float32Array.of(0, 1.5, -2).buffer);
  await write(
    layer('element_type="f32" shape="1,2" offset="4" size="8"', "a&amp;b") +
      layer('offset="2" size="1" shape="" element_type="u8"') +
      layer("offset='3' size='1' shape='1' element_type='i8'") +
      layer('shape="1,3" element_type="f16"', "data", "Parameter"),
    bin,
  );
  for (const path of [xml, join(folder, "m.bin")]) {
    const { format, tensors, metadata } = await openCheckpoint(path);
    expect({ format, metadata }).toEqual({ format: "openvino", metadata: { name: "a" } });
    expect(tensors).toEqual({
      "a&b": { dtype: "float32", shape: [1, 2], data: Float32Array.of(1.5, -2) },
      w: { dtype: "uint8", shape: [], data: Uint8Array.of(0) },
      "w#1": { dtype: "int8", shape: [1], data: Int8Array.of(0) },
    });
  }
});

test.each([
  [
    "sizes that disagree",
    layer('element_type="f32" shape="3" offset="0" size="8"'),
    "expected 12 bytes",
  ],
  [
    "data beyond the .bin",
    layer('element_type="u8" shape="8" offset="9" size="8"'),
    "within the 16 bytes",
  ],
  ["no offset", layer('element_type="u8" shape="1" size="1"'), "within the 16 bytes"],
  [
    "negative sizes",
    layer('element_type="u8" shape="-1,-1" offset="0" size="1"'),
    "expected NaN bytes",
  ],
  [
    "elements of less than a byte",
    layer('element_type="u4" shape="2" offset="0" size="1"'),
    "got u4",
  ],
  ["a tag that does not end", "<layer id=1>", "tag layer: expected >"],
])("refuses %s", async (_, layers, message) => {
  await write(layers);
  await expect(openCheckpoint(xml)).rejects.toThrow(message);
});

const squeezenet = sharedData("squeezenet1.1", "squeezenet1.1.xml");
test.skipIf(!squeezenet)("SqueezeNet (skipped without ../shared/data)", async () => {
  const { tensors } = await openCheckpoint(squeezenet!);
  const first = tensors["113/Output_0/Data__const"]!;
  expect(first).toMatchObject({ dtype: "float16", shape: [64, 3, 3, 3] });
  expect(new Set(first.data as Uint16Array).size).toBeGreaterThan(500);
  const elements = Object.values(tensors).map(({ data }) => data.length);
  expect(elements.reduce((a, b) => a + b)).toBeGreaterThan(1_235_000);
});
