/**
 * The engine against PyTorch: medians on one machine, in one run.
 *
 *   npm run bench                              ours alone
 *   npm run bench -- --python PATH             with the peer: a Python that has torch
 *   npm run bench -- --json --threads 2 --repeats 7 --only decoder
 *
 * Random weights; float32; the peer takes its better memory format for convolutions.
 */
import { spawnSync } from "node:child_process";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { applyDecoder, type DecoderConfig, initDecoder } from "@aligntok/aligntok";
import { createRandom, type NdArray, ndarray, type Parameters, sizeOf } from "@aligntok/core";
import { applyViT, initViT, resamplePositions, vitModels } from "@aligntok/encoders";
import { compile, specOf, valueAndGrad } from "@aligntok/jit";
import { createAdamW, flattenParameters, zerosLike } from "@aligntok/train";
import { mean, square, type Tensor } from "@tensorflow/tfjs-core";

type Tensors = Readonly<Record<string, Tensor>>;

const { values: flags } = parseArgs({
  options: {
    python: { type: "string" },
    json: { type: "boolean", default: false },
    threads: { type: "string", default: "2" },
    repeats: { type: "string", default: "7" },
    only: { type: "string", default: "" },
  },
});
const threads = Number(flags.threads);
const repeats = Number(flags.repeats);

const vit = vitModels.dinov2_vits14;
const decoder: DecoderConfig = {
  latent: 16,
  channels: 64,
  multipliers: [1, 1, 2, 4],
  blocks: 2,
  attention: [3],
};
const random = createRandom(0, "bench");
const normals = (shape: number[]) => ndarray(random.normals(sizeOf(shape)), shape);

interface Case {
  readonly name: string;
  /** Peer time over ours that is asked for. */
  readonly bar: number;
  readonly params: () => Parameters;
  readonly x: NdArray<"float32">;
  readonly apply: (params: Tensors, x: Tensor) => Tensor;
  readonly train: boolean;
  readonly optimizer: boolean;
}

const vitParams = () => resamplePositions(vit, initViT(vit, random), [16, 16]);
const cases: Case[] = [
  {
    name: "vits14-forward",
    bar: 1.4,
    params: vitParams,
    x: normals([8, 3, 224, 224]),
    apply: (p, x) => applyViT(vit, p, x),
    train: false,
    optimizer: false,
  },
  {
    name: "vits14-train",
    bar: 1.4,
    params: vitParams,
    x: normals([8, 3, 224, 224]),
    apply: (p, x) => applyViT(vit, p, x),
    train: true,
    optimizer: true,
  },
  {
    name: "decoder-forward",
    bar: 0.7,
    params: () => initDecoder(decoder, random),
    x: normals([4, 16, 16, 16]),
    apply: (p, x) => applyDecoder(decoder, p, x),
    train: false,
    optimizer: false,
  },
  {
    name: "decoder-train",
    bar: 0.7,
    params: () => initDecoder(decoder, random),
    x: normals([4, 16, 16, 16]),
    apply: (p, x) => applyDecoder(decoder, p, x),
    train: true,
    optimizer: false,
  },
];

interface Prepared {
  /** Runs the case once. */
  readonly run: () => Promise<unknown>;
  readonly dispose: () => void;
}

async function prepare({ params, x, apply, train, optimizer }: Case): Promise<Prepared> {
  const flat = flattenParameters(params());
  const inputs = { params: flat.views, x };
  if (!train) {
    const forward = await compile(
      ({ params, x }) => apply(params as Tensors, x as Tensor),
      specOf(inputs),
      { threads },
    );
    return { run: () => forward.run(inputs), dispose: forward.dispose };
  }
  const step = await compile(
    ({ params, x }) =>
      valueAndGrad((p: Tensors) => mean(square(apply(p, x as Tensor))), params as Tensors),
    specOf(inputs),
    { threads },
  );
  const gradients = zerosLike(flat);
  const adam = optimizer ? createAdamW(flat, { weightDecay: 0.05 }) : undefined;
  return {
    async run() {
      await step.run(inputs, { into: { gradients: gradients.views } });
      adam?.update(gradients.flat, { lr: 1e-5 });
    },
    dispose: step.dispose,
  };
}

/** Median milliseconds. The engine's memory is given back before the peer's turn. */
async function time({ run, dispose }: Prepared): Promise<number> {
  await run();
  const times: number[] = [];
  for (let i = 0; i < repeats; i++) {
    const start = performance.now();
    await run();
    times.push(performance.now() - start);
  }
  dispose();
  return times.sort((a, b) => a - b)[Math.floor(repeats / 2)]!;
}

function timePeer(name: string): number {
  const script = fileURLToPath(new URL("peer.py", import.meta.url));
  // Some machines pin OpenBLAS to an old kernel; the peer is measured at its best.
  const { OPENBLAS_CORETYPE: _, OPENBLAS_L2_SIZE: __, ...env } = process.env;
  const { stdout, stderr, status, error } = spawnSync(
    flags.python!,
    [script, name, String(threads), String(repeats)],
    { env, encoding: "utf8" },
  );
  if (status !== 0) throw new Error(`peer ${name}: ${error?.message ?? stderr}`);
  return Number(stdout);
}

const rows: { case: string; ms: number; peerMs?: number; ratio?: number; bar: number }[] = [];
for (const item of cases.filter(({ name }) => name.includes(flags.only))) {
  const ms = await time(await prepare(item));
  const peerMs = flags.python ? timePeer(item.name) : undefined;
  rows.push({ case: item.name, ms, ...(peerMs && { peerMs, ratio: peerMs / ms }), bar: item.bar });
  if (!flags.json) process.stderr.write(`${item.name} done\n`);
}

if (flags.json) {
  console.log(
    JSON.stringify(
      { machine: `${cpus()[0]?.model} x ${threads}`, node: process.version, rows },
      null,
      2,
    ),
  );
} else {
  console.log(
    `${cpus()[0]?.model}, ${threads} threads, node ${process.version}, float32, median of ${repeats}\n`,
  );
  console.log("| case | ours, ms | PyTorch, ms | ratio | bar |\n|---|---|---|---|---|");
  for (const { case: name, ms, peerMs, ratio, bar } of rows) {
    console.log(
      `| ${name} | ${ms.toFixed(0)} | ${peerMs?.toFixed(0) ?? "-"} | ${ratio?.toFixed(2) ?? "-"} | ${bar} |`,
    );
  }
}
