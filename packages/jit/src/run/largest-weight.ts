import { createOnnxBuilder, elementTypes } from "../onnx/builder.ts";
import { loadOnnxModel } from "./onnx-model.ts";

let known: Promise<number> | undefined;

/**
 * The largest magnitude that an int8 weight may have on this processor: 127, or 64 where x86 has no VNNI, for there two
 * products of uint8 and int8 are added in 16 bits, which 2 x 255 x 64 just fits. Found out by computing such a sum.
 */
export function largestWeight(): Promise<number> {
  known ??= probe().catch(() => 64);
  return known;
}

async function probe(): Promise<number> {
  const [rows, depth, columns] = [4, 64, 16];
  const builder = createOnnxBuilder();
  const x = { shape: [rows, depth], dtype: "float32" } as const;
  const y = { shape: [rows, columns], dtype: "float32" } as const;
  builder.input("x", x);
  const steps = builder.add("Cast", ["x"], { to: elementTypes.uint8 });
  const weight = builder.constant(new Int8Array(depth * columns).fill(127), {
    shape: [depth, columns],
    dtype: "int8",
  });
  const product = builder.add("MatMulInteger", [steps, weight]);
  builder.output("y", y);
  builder.fillOutput("y", builder.add("Cast", [product], { to: elementTypes.float32 }));
  const model = await loadOnnxModel({
    bytes: builder.finish(),
    bound: new Map(),
    outputs: [{ name: "y", value: y }],
    threads: 1,
    device: "cpu",
  });
  const data = new Float32Array(rows * depth).fill(255);
  const outputs = await model.run(new Map([["x", { ...x, data }]]), new Map());
  await model.release();
  const sums = outputs.get("y")!.data as Float32Array;
  return sums.every((sum) => sum === depth * 255 * 127) ? 127 : 64;
}
