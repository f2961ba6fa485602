/**
 * transformers.js's turn in `aligntok bench`: its image-feature-extraction pipeline on JPEG files.
 *
 *     transformers-js.mjs MODULE THREADS
 *
 * MODULE is where `@huggingface/transformers` was found. The plan is where encode.py reads it; says what
 * src/bench/measured-process.ts says.
 */
import { readFile, writeFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [module, threads] = process.argv.slice(2);
const { env, pipeline, Tensor } = await import(pathToFileURL(module).href);
const plan = JSON.parse(await readFile(process.env.ALIGNTOK_BENCH_PLAN, "utf8"));
const { folder, photographs, batchSize, count } = plan;
env.allowRemoteModels = false;
env.localModelPath = dirname(folder);
const extract = await pipeline("image-feature-extraction", basename(folder), {
  dtype: "fp32",
  session_options: { intraOpNumThreads: Number(threads) },
});

const features = `${plan.pixels}-transformers-js`;
const { last_hidden_state } = await extract.model({
  pixel_values: normalized(await readFile(plan.pixels)),
});
await writeFile(features, last_hidden_state.data);

let next = 0;
async function run() {
  for (let done = 0; done < count; done += batchSize) {
    const paths = Array.from({ length: batchSize }, () => photographs[next++ % photographs.length]);
    await extract(paths);
  }
}

/** (2, 3, 224, 224) as the model's processor makes them of pixels that need no resizing. */
function normalized(pixels) {
  const { image_mean: mean, image_std: std } = extract.processor.image_processor;
  const data = new Float32Array(pixels.length);
  const plane = 224 * 224;
  pixels.forEach((x, i) => {
    const c = i % 3;
    const at = Math.floor(i / 3);
    data[(Math.floor(at / plane) * 3 + c) * plane + (at % plane)] = (x / 255 - mean[c]) / std[c];
  });
  return new Tensor("float32", data, [2, 3, 224, 224]);
}

function say(answer) {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

await run();
say({ features });
for await (const line of createInterface({ input: process.stdin })) {
  const [order, times] = line.split(" ");
  if (order !== "run") break;
  const ms = [];
  for (let i = 0; i < Number(times); i++) {
    const start = performance.now();
    await run();
    ms.push(performance.now() - start);
  }
  say({ ms });
}
say({ rssMb: process.resourceUsage().maxRSS / 1024 });
process.exit();
