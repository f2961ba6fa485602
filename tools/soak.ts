/**
 * Memory over a long training: compiled steps of a small LightningDiT with AdamW and its average, and once a
 * minute a graph compiled anew and the old one disposed of. Writes the samples and their plot.
 *
 *   node --import tsx --conditions=@aligntok/source tools/soak.ts --minutes 30 --out docs/assets/soak
 *
 * With `--worker` the graphs run in the worker thread. The process rests four times as long as it works, so that
 * it can run beside other work; `--rest 0` hurries.
 */
import { writeFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { createRandom, type NdArray, ndarray, sizeOf } from "@aligntok/core";
import { applyLightningDit, initLightningDit, lightningDitDefaults } from "@aligntok/diffusion";
import { compile, specOf, valueAndGrad } from "@aligntok/jit";
import {
  computeClipScale,
  computeGradientNorm,
  createAdamW,
  createEma,
  flattenParameters,
  zerosLike,
} from "@aligntok/train";
import { mean, squaredDifference, type Tensor } from "@tensorflow/tfjs-core";

interface Sample {
  readonly seconds: number;
  readonly step: number;
  /** MiB. */
  readonly rss: number;
  readonly heap: number;
  readonly external: number;
}

const { values: flags } = parseArgs({
  options: {
    minutes: { type: "string", default: "30" },
    out: { type: "string", default: "soak" },
    rest: { type: "string", default: "4" },
    threads: { type: "string", default: "1" },
    worker: { type: "boolean", default: false },
  },
});
const seconds = 60 * Number(flags.minutes);
const sampleEvery = 5;
const compileEvery = 60;

const config = {
  ...lightningDitDefaults,
  depth: 4,
  width: 192,
  heads: 4,
  patchSize: 1,
  classes: 10,
};
const batch = 2;
const random = createRandom(0, "soak");
const parameters = flattenParameters(initLightningDit(config, random));
const gradients = zerosLike(parameters);
const ema = createEma(parameters);
const optimizer = createAdamW(parameters, { ema });
const normals = (...shape: number[]) => ndarray(random.normals(sizeOf(shape)), shape);

function drawInputs() {
  const shape = [batch, config.inChannels, config.inputSize, config.inputSize];
  return {
    params: parameters.views,
    x: normals(...shape),
    target: normals(...shape),
    t: ndarray(Float32Array.from({ length: batch }, random.uniform), [batch]),
    y: ndarray(
      Int32Array.from({ length: batch }, (_, i) => i),
      [batch],
      "int32",
    ) as NdArray<"int32">,
  };
}

const compileStep = () =>
  compile(
    ({ params, x, target, t, y }) =>
      valueAndGrad(
        (weights) =>
          mean(squaredDifference(applyLightningDit(config, weights, x, t, y), target)) as Tensor,
        params as Readonly<Record<string, Tensor>>,
      ),
    specOf(drawInputs()),
    { threads: Number(flags.threads), worker: flags.worker },
  );

const samples: Sample[] = [];
const clock = () => performance.now() / 1000;
const begin = clock();
let step = await compileStep();
let compiled = 1;
for (let index = 0; clock() - begin < seconds; index++) {
  const start = clock();
  if (start - begin >= compiled * compileEvery) {
    step.dispose();
    step = await compileStep();
    compiled++;
  }
  await step.run(drawInputs(), { into: { gradients: gradients.views } });
  const scale = computeClipScale(computeGradientNorm(gradients.flat), 1);
  optimizer.update(gradients.flat, { lr: 1e-4, scale });
  if (clock() - begin >= samples.length * sampleEvery) record(index + 1);
  await setTimeout(1000 * Number(flags.rest) * (clock() - start));
}
step.dispose();
summarize();

function record(index: number): void {
  const { rss, heapUsed, external } = process.memoryUsage();
  const mebibytes = (bytes: number) => Number((bytes / 2 ** 20).toFixed(1));
  samples.push({
    seconds: Number((clock() - begin).toFixed(1)),
    step: index,
    rss: mebibytes(rss),
    heap: mebibytes(heapUsed),
    external: mebibytes(external),
  });
  const rows = samples.map((sample) => Object.values(sample).join(","));
  writeFileSync(`${flags.out}.csv`, `seconds,step,rss,heap,external\n${rows.join("\n")}\n`);
  writeFileSync(`${flags.out}.svg`, plot());
}

/** Medians of the second and the last fifth: the first holds the start. */
function summarize(): void {
  const fifth = Math.floor(samples.length / 5);
  const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1] ?? 0;
  console.log(
    `${step.graph.nodes.length} nodes, ${samples.at(-1)?.step} steps, ${compiled} compilations`,
  );
  for (const name of ["rss", "heap", "external"] as const) {
    const early = median(samples.slice(fifth, 2 * fifth).map((sample) => sample[name]));
    const late = median(samples.slice(-fifth).map((sample) => sample[name]));
    console.log(`${name}: ${early} MiB early, ${late} MiB late`);
  }
}

/** Three lines over minutes, readable on light and on dark pages. */
function plot(): string {
  const [width, height, left, bottom] = [720, 320, 56, 40];
  const minutes = Math.max(1, samples.at(-1)!.seconds / 60);
  const top = Math.ceil(Math.max(...samples.map(({ rss }) => rss)) / 100) * 100;
  const x = (minute: number) => left + (minute / minutes) * (width - left - 16);
  const y = (value: number) => height - bottom - (value / top) * (height - bottom - 16);
  const label = (at: readonly [number, number], text: string, anchor: string, fill = "#777") =>
    `<text x="${at[0].toFixed(1)}" y="${at[1].toFixed(1)}" text-anchor="${anchor}" fill="${fill}">${text}</text>`;
  const grid = [0, 1, 2, 3, 4].map((i) => {
    const value = (top * i) / 4;
    return (
      `<path d="M${left} ${y(value).toFixed(1)}H${width - 16}" stroke="#888" stroke-opacity=".3"/>` +
      label([left - 6, y(value) + 4], String(value), "end")
    );
  });
  const times = [0, 1, 2, 3, 4, 5, 6].map((i) =>
    label([x((minutes * i) / 6), height - bottom + 18], ((minutes * i) / 6).toFixed(0), "middle"),
  );
  const colors = { rss: "#3b82c4", external: "#d9822b", heap: "#3f9d63" } as const;
  const lines = Object.entries(colors).map(([name, color], i) => {
    const points = samples.map((sample) => {
      const at = [x(sample.seconds / 60), y(sample[name as keyof Sample])];
      return at.map((value) => value.toFixed(1)).join(" ");
    });
    const last = samples.at(-1)![name as keyof Sample];
    return (
      `<path d="M${points.join("L")}" fill="none" stroke="${color}" stroke-width="1.5"/>` +
      label([left + 130 * (i + 1), height - 4], `${name} ${last} MiB`, "middle", color)
    );
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    "<title>Resident memory, memory outside of the heap and heap over time</title>",
    ...[...grid, ...times, ...lines],
    label([width - 16, height - 4], "minutes", "end"),
    "</svg>\n",
  ].join("\n");
}
