/**
 * Distils the sample encoder (packages/samples/vit-tiny-distilled) from timm's ViT-Tiny/16.
 *
 *   node --import tsx --conditions=@aligntok/source tools/distill/distill.ts \
 *     --data ../shared/data --out runs/distill [--steps 2400] [--threads 2] [--export packages/samples/vit-tiny-distilled]
 *
 * The student has every second block of the teacher (DistilBERT's start, Sanh et al. 2019) and learns to give,
 * for a crop of 128 px, the teacher's tokens of the same crop at 256 px, averaged two by two. Stopped at any
 * moment it continues when started again. Takes about 3 GB of memory.
 */
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { readSafetensors, writeSafetensors } from "@aligntok/checkpoint";
import {
  createRandom,
  type Images,
  type NdArray,
  type Parameters,
  parameter,
  rows,
  zeros,
} from "@aligntok/core";
import {
  applyViT,
  loadEncoder,
  preprocess,
  resamplePositions,
  saveEncoder,
  type ViTConfig,
  vitShapes,
} from "@aligntok/encoders";
import { compile, specOf, valueAndGrad } from "@aligntok/jit";
import {
  assignParameters,
  createAdamW,
  createCosineSchedule,
  createRunLog,
  createWarmup,
  flattenParameters,
  runTraining,
  zerosLike,
} from "@aligntok/train";
import * as tf from "@tensorflow/tfjs-core";
import { readViews, side } from "./views.ts";

const { values: flags } = parseArgs({
  options: {
    data: { type: "string" },
    out: { type: "string" },
    export: { type: "string" },
    steps: { type: "string", default: "2400" },
    batch: { type: "string", default: "48" },
    lr: { type: "string", default: "6e-4" },
    seed: { type: "string", default: "0" },
    threads: { type: "string", default: "2" },
  },
});
if (!flags.data || !flags.out) throw new Error("usage: distill.ts --data FOLDER --out FOLDER");
const [steps, batchSize, seed, threads] = [flags.steps, flags.batch, flags.seed, flags.threads].map(
  Number,
) as [number, number, number, number];
const out = flags.out;
await mkdir(out, { recursive: true });

const teacher = await loadEncoder(join(flags.data, "vit-tiny-patch16-224"), {
  threads,
  batchSize: 8,
});
const grid = side / 16;
const config: ViTConfig = { ...teacher.config, depth: 6, imageSize: side, classes: 0 };
const takenBlocks = [0, 2, 4, 6, 8, 11];

/** The teacher's weights for the student's shape: positions resampled, blocks picked. */
function startFromTeacher(): Parameters {
  const known = resamplePositions(teacher.config, teacher.parameters, [grid, grid]);
  return Object.fromEntries(
    Object.keys(vitShapes(config)).map((name) => [
      name,
      parameter(
        known,
        name.replace(/^blocks\.(\d+)/, (_, i) => `blocks.${takenBlocks[Number(i)]}`),
      ),
    ]),
  );
}

/** Class token and 2x2 means of the patch tokens of every large view: `(N, 1 + grid^2, D)`. */
async function teach(large: Images): Promise<NdArray<"float32">> {
  const [n, d] = [large.shape[0]!, teacher.width];
  const targets = zeros([n, 1 + grid * grid, d]);
  const wide = 2 * grid;
  for (let start = 0; start < n; start += 8) {
    const tokens = await teacher.features(rows(large, start, Math.min(n, start + 8)));
    for (let i = 0; i < tokens.shape[0]!; i++) {
      const from = tokens.data.subarray(i * (1 + wide * wide) * d);
      const to = rows(targets, start + i, start + i + 1).data;
      to.set(from.subarray(0, d));
      for (let y = 0; y < wide; y++) {
        for (let x = 0; x < wide; x++) {
          const source = (1 + y * wide + x) * d;
          const target = (1 + (y >> 1) * grid + (x >> 1)) * d;
          for (let c = 0; c < d; c++) to[target + c]! += from[source + c]! / 4;
        }
      }
    }
    if (start % 800 === 0) console.error(`teacher ${start}/${n}`);
  }
  return targets;
}

const cache = join(out, `views-${seed}.safetensors`);
if (!existsSync(cache)) {
  const { small, large } = await readViews(flags.data, seed);
  await writeSafetensors(cache, { small, targets: await teach(large) });
}
const { tensors } = await readSafetensors(cache);
const [small, targets] = [tensors.small as Images, tensors.targets as NdArray<"float32">];
const count = small.shape[0]!;
console.error(`${count} views`);

// Some channels of the teacher are a hundred times as large as others: each counts by its own spread.
const spread = zeros([config.width]);
for (let c = 0; c < config.width; c++) {
  let [sum, squares] = [0, 0];
  for (let i = c; i < targets.data.length; i += config.width) {
    sum += targets.data[i]!;
    squares += targets.data[i]! ** 2;
  }
  const n = targets.data.length / config.width;
  spread.data[c] = 1 / Math.sqrt(squares / n - (sum / n) ** 2);
}

const params = flattenParameters(startFromTeacher());
const gradients = zerosLike(params);
const adam = createAdamW(params, { betas: [0.9, 0.98], weightDecay: 0.02 });
const schedule = createWarmup(createCosineSchedule(Number(flags.lr), { steps }), { steps: 50 });
const images = zeros([batchSize, side, side, 3]);
const wanted = zeros([batchSize, 1 + grid * grid, config.width]);
const inputs = { params: params.views, images, wanted, spread };
const train = await compile(
  ({ params, images, wanted, spread }) =>
    valueAndGrad((p: typeof params) => {
      const tokens = applyViT(config, p, preprocess(config, images));
      return tf.mean(tf.square(tf.mul(tf.sub(tokens, wanted), spread)));
    }, params),
  specOf(inputs),
  { threads },
);

const settings = { seed, steps, batchSize, lr: flags.lr };
let shown = 0;
await runTraining({
  folder: out,
  steps,
  log: createRunLog(out),
  checkpointEvery: 200,
  async step(index) {
    const random = createRandom(seed, "batch", index);
    for (let i = 0; i < batchSize; i++) {
      const pick = random.integer(count);
      rows(images, i, i + 1).data.set(rows(small, pick, pick + 1).data);
      rows(wanted, i, i + 1).data.set(rows(targets, pick, pick + 1).data);
    }
    const result = (await train.run(inputs as never, {
      into: { gradients: gradients.views },
    })) as unknown as { value: NdArray<"float32"> };
    adam.update(gradients.flat, { lr: schedule(index) });
    return { loss: result.value.data[0]! };
  },
  save: () => ({ tensors: { model: params.views, optimizer: adam.state() }, state: settings }),
  restore({ tensors, state }) {
    if (JSON.stringify(state) !== JSON.stringify(settings)) {
      throw new Error(
        `${out}: holds a run with other settings. give the same flags, or another --out`,
      );
    }
    assignParameters(params, tensors.model ?? {});
    adam.restore(tensors.optimizer ?? {});
  },
  onProgress({ done, metrics }) {
    if (done - shown >= 20) {
      shown = done;
      console.error(`step ${done}/${steps} loss ${metrics?.loss?.toFixed(4)}`);
    }
  },
});

const folder = flags.export ?? join(out, "encoder");
await saveEncoder(folder, { config, parameters: params.views }, { dtype: "float16" });
console.error(`saved ${folder}`);
