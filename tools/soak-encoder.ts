/**
 * Memory while an encoder of random weights streams many photographs of different sizes: decoding in threads beside the
 * network. Prints the resident memory after every twentieth of them, how much it grew over the last three quarters, and
 * the most that it came to above the weights.
 *
 *   node --import tsx --conditions=@aligntok/source tools/soak-encoder.ts --images 20000
 */
import { parseArgs } from "node:util";
import { byteLength, createRandom, ndarray } from "@aligntok/core";
import { createEncoder, findViTModel } from "@aligntok/encoders";
import { encodeJpeg } from "@aligntok/image";

const { values: flags } = parseArgs({
  options: {
    images: { type: "string", default: "20000" },
    model: { type: "string", default: "dinov2_vits14" },
    size: { type: "string", default: "224" },
    threads: { type: "string" },
    worker: { type: "boolean", default: false },
  },
});
const [count, size] = [Number(flags.images), Number(flags.size)];
const random = createRandom(0, "soak");

/** Heights and widths of the photographs, upright and across, small and large. */
const sizes = [240, 320, 448, 640].flatMap((height) =>
  [256, 360, 500, 800].map((width) => [height, width] as const),
);
const photographs = await Promise.all(
  sizes.map(([height, width]) => {
    const pixels = Uint8Array.from({ length: height * width * 3 }, (_, i) => (i / 97) & 255);
    for (let i = 0; i < 2000; i++) pixels[random.integer(pixels.length)] = random.integer(256);
    return encodeJpeg(ndarray(pixels, [height, width, 3], "uint8"));
  }),
);
const encoder = createEncoder(findViTModel(flags.model), random, {
  ...(flags.threads && { threads: Number(flags.threads) }),
  worker: flags.worker,
});
const weights = Object.values(encoder.parameters).reduce(
  (sum, array) => sum + byteLength(array),
  0,
);

function* source() {
  for (let i = 0; i < count; i++) {
    yield { key: `${i}`, bytes: photographs[i % photographs.length]! };
  }
}

const mebibytes = (bytes: number) => Math.round(bytes / 2 ** 20);
const resident: number[] = [];
const begin = performance.now();
let done = 0;
const transform = { resize: size, crop: size };
for await (const { keys } of encoder.featuresOf(source(), { pool: "cls", transform })) {
  done += keys.length;
  if (done < ((resident.length + 1) * count) / 20) continue;
  const { rss, heapUsed, external } = process.memoryUsage();
  resident.push(rss);
  console.log(
    `${done} images: rss ${mebibytes(rss)} MiB, heap ${mebibytes(heapUsed)}, external ${mebibytes(external)}`,
  );
}
const seconds = (performance.now() - begin) / 1000;
const late = resident.slice(resident.length >> 2);
const most = Math.max(...resident);
console.log(
  `${(count / seconds).toFixed(0)} images/s; growth after a quarter ${mebibytes(late.at(-1)! - late[0]!)} MiB, most ${mebibytes(most)} MiB, of which ${mebibytes(most - weights)} beside ${mebibytes(weights)} MiB of weights`,
);
encoder.dispose();
