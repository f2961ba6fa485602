import { createOnnxBuilder, NCHWC } from "../onnx/builder.ts";
import { loadOnnxModel } from "./onnx-model.ts";

let known: Promise<number> | undefined;

/**
 * How many channels ONNX Runtime's blocked layout keeps together on this processor: 16 or 8, and 0 where it has no
 * such layout. Found out by looking at what it does with a small image, since no function tells it.
 */
export function channelBlock(): Promise<number> {
  known ??= probe().catch(() => 0);
  return known;
}

async function probe(): Promise<number> {
  const value = { shape: [1, 64, 1, 2], dtype: "float32" } as const;
  const builder = createOnnxBuilder({ channelBlock: 1 });
  builder.input("x", value);
  builder.output("y", value);
  builder.fillOutput("y", builder.add("ReorderInput", ["x"], {}, { domain: NCHWC }));
  const model = await loadOnnxModel({
    bytes: builder.finish(),
    bound: new Map(),
    outputs: [{ name: "y", value }],
    threads: 1,
    device: "cpu",
  });
  // Each pixel holds the numbers of its channels, so the first 0 after the first block starts the second pixel.
  const data = Float32Array.from({ length: 128 }, (_, i) => i >> 1);
  const outputs = await model.run(new Map([["x", { ...value, data }]]), new Map());
  await model.release();
  const block = (outputs.get("y")!.data as Float32Array).indexOf(0, 1);
  return block > 1 && block < 64 ? block : 0;
}
