/**
 * How long `resize` takes beside Pillow, by bicubic, in milliseconds (medians, one thread each).
 *
 *   node --import tsx --conditions=@aligntok/source tools/resize-speed.ts --python PATH
 */
import { execFileSync } from "node:child_process";
import { parseArgs } from "node:util";
import { type NdArray, zeros } from "@aligntok/core";
import { type PixelType, resize } from "@aligntok/image";

const { values: flags } = parseArgs({
  options: { python: { type: "string", default: "python3" } },
});

/** Mode of Pillow, type, channels, height and width, and those of the result. */
const cases: readonly (readonly [string, PixelType, number, number, number, number, number])[] = [
  ["RGB", "uint8", 3, 375, 500, 256, 256],
  ["L", "uint8", 1, 375, 500, 256, 256],
  ["RGBA", "uint8", 4, 375, 500, 256, 256],
  ["RGB", "uint8", 3, 3000, 4000, 256, 256],
  ["RGB", "uint8", 3, 256, 256, 1024, 1024],
  ["F", "float32", 1, 375, 500, 256, 256],
  ["I;16", "uint16", 1, 375, 500, 256, 256],
];
const runs = 50;
/** Compilers of the engine are done by then. */
const warmup = 50;

const peer = `
import json, sys, time
from PIL import Image
for mode, _, _, height, width, out_height, out_width in json.loads(sys.argv[1]):
    data = bytes(i * 2654435761 % 2**32 >> 24 for i in range(999)) * (width * height // 100)
    size = len(Image.new(mode, (width, height)).tobytes())
    image = Image.frombytes(mode, (width, height), (data * 2)[:size])
    times = []
    for _ in range(${warmup + runs}):
        start = time.perf_counter()
        image.resize((out_width, out_height), Image.Resampling.BICUBIC)
        times.append(time.perf_counter() - start)
    print(sorted(times[${warmup}:])[${runs >> 1}] * 1000)
`;

function median([, dtype, channels, height, width, outHeight, outWidth]: (typeof cases)[number]) {
  const image: NdArray<PixelType> = zeros([height, width, channels], dtype);
  for (let i = 0; i < image.data.length; i++) image.data[i] = (i * 2654435761) >>> 24;
  const times = Array.from({ length: warmup + runs }, () => {
    const start = performance.now();
    resize(image, { height: outHeight, width: outWidth });
    return performance.now() - start;
  });
  return times.slice(warmup).sort((a, b) => a - b)[runs >> 1]!;
}

const ours = cases.map(median);
const theirs = execFileSync(flags.python, ["-c", peer, JSON.stringify(cases)], { encoding: "utf8" })
  .trim()
  .split("\n")
  .map(Number);
console.log("mode | from | to | ours | Pillow | ratio");
for (const [i, [mode, , , height, width, outHeight, outWidth]] of cases.entries()) {
  const [own, other] = [ours[i]!, theirs[i]!];
  const sizes = `${width} x ${height} | ${outWidth} x ${outHeight}`;
  console.log(
    `${mode} | ${sizes} | ${own.toFixed(2)} | ${other.toFixed(2)} | ${(other / own).toFixed(2)}`,
  );
}
