/**
 * Memory while an encoder streams many images: decoding in threads, a network of random weights. Prints the resident
 * memory after every twentieth of them, and how much it grew over the last three quarters.
 *
 *   node --import tsx --conditions=@aligntok/source tools/soak-encoder.ts --images 20000
 */
import { parseArgs } from "node:util";
import { createRandom, ndarray } from "@aligntok/core";
import { createEncoder, vitModels } from "@aligntok/encoders";
import { encodeJpeg } from "@aligntok/image";

const { values: flags } = parseArgs({
  options: {
    images: { type: "string", default: "20000" },
    size: { type: "string", default: "64" },
    photograph: { type: "string", default: "256" },
    threads: { type: "string", default: "1" },
    worker: { type: "boolean", default: false },
  },
});
const [count, size, side] = [flags.images, flags.size, flags.photograph].map(Number) as [
  number,
  number,
  number,
];
const random = createRandom(0, "soak");
const photographs = await Promise.all(
  Array.from({ length: 16 }, () => {
    const pixels = Uint8Array.from({ length: side * side * 3 }, (_, i) => (i / 97) & 255);
    for (let i = 0; i < 2000; i++) pixels[random.integer(pixels.length)] = random.integer(256);
    return encodeJpeg(ndarray(pixels, [side, side, 3], "uint8"));
  }),
);
const config = vitModels.vit_tiny_patch16_224;
const encoder = createEncoder(config, random, {
  threads: Number(flags.threads),
  worker: flags.worker,
});

function* source() {
  for (let i = 0; i < count; i++) yield { key: `${i}`, bytes: photographs[i % 16]! };
}

const resident: number[] = [];
const begin = performance.now();
let done = 0;
const transform = { resize: size, crop: size };
for await (const { keys } of encoder.featuresOf(source(), { pool: "cls", transform })) {
  done += keys.length;
  if (done < ((resident.length + 1) * count) / 20) continue;
  const { rss, heapUsed, external } = process.memoryUsage();
  const mebibytes = [rss, heapUsed, external].map((bytes) => Math.round(bytes / 2 ** 20));
  resident.push(mebibytes[0]!);
  console.log(
    `${done} images: rss ${mebibytes[0]} MiB, heap ${mebibytes[1]}, external ${mebibytes[2]}`,
  );
}
const seconds = (performance.now() - begin) / 1000;
const late = resident.slice(resident.length >> 2);
console.log(
  `${(count / seconds).toFixed(0)} images/s; growth after a quarter ${late.at(-1)! - late[0]!} MiB, most ${Math.max(...resident)} MiB`,
);
encoder.dispose();
